# U-Boot: starts slot A (partition 2) or B (partition 3), as RAUC wants them, in murmur.env on the first partition.
# Every start counts one of the slot's tries; a system that is well sets them back to three (rauc status mark-good).
setenv BOOT_ORDER "A B"
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
# Torn by a power cut, its checksum is wrong, and the defaults hold: a slot that does not start gives way to the other.
if load ${devtype} ${devnum}:1 ${kernel_addr_r} murmur.env; then
    env import -c ${kernel_addr_r} 0x4000 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT
fi
setenv slot
for name in ${BOOT_ORDER}; do
    if test -n "${slot}"; then
        true
    elif test "${name}" = "A" && test "${BOOT_A_LEFT}" -gt 0; then
        setenv slot A
        setenv part 2
        if test "${BOOT_A_LEFT}" -eq 3; then setenv BOOT_A_LEFT 2; elif test "${BOOT_A_LEFT}" -eq 2; then setenv BOOT_A_LEFT 1; else setenv BOOT_A_LEFT 0; fi
    elif test "${name}" = "B" && test "${BOOT_B_LEFT}" -gt 0; then
        setenv slot B
        setenv part 3
        if test "${BOOT_B_LEFT}" -eq 3; then setenv BOOT_B_LEFT 2; elif test "${BOOT_B_LEFT}" -eq 2; then setenv BOOT_B_LEFT 1; else setenv BOOT_B_LEFT 0; fi
    fi
done
if test -z "${slot}"; then
    echo "murmur: no slot has a try left; all over again"
    setenv BOOT_ORDER "A B"
    setenv BOOT_A_LEFT 3
    setenv BOOT_B_LEFT 3
fi
env export -c -s 0x4000 ${kernel_addr_r} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT
fatwrite ${devtype} ${devnum}:1 ${kernel_addr_r} murmur.env 0x4000
if test -z "${slot}"; then reset; fi
echo "murmur: slot ${slot}, tries left: A ${BOOT_A_LEFT}, B ${BOOT_B_LEFT}"
setenv bootargs "console=@CONSOLE@ murmur.part=${part} rauc.slot=${slot} panic=10 ro loglevel=4"
setenv tree ${fdtcontroladdr}
if test -n "${fdt_addr}"; then setenv tree ${fdt_addr}; fi
if test -n "@DEVICE_TREE@"; then
    load ${devtype} ${devnum}:${part} ${fdt_addr_r} /boot/board.dtb && setenv tree ${fdt_addr_r}
fi
if load ${devtype} ${devnum}:${part} ${kernel_addr_r} /boot/vmlinuz; then
    if load ${devtype} ${devnum}:${part} ${ramdisk_addr_r} /boot/initrd.img; then
        booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${tree}
    fi
fi
echo "murmur: slot ${slot} does not start"
sleep 2
reset
