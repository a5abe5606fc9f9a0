"""From this repository to boards, on a workstation: what is installed on one, and an emulated one to try it on."""
