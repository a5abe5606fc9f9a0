"""Images for boards, and everything that happens around a card: building, writing, enrolling, updating, watching.

>>> from firmware_scripts import board
>>> board.load("rpi4").suite
'bookworm'
"""
