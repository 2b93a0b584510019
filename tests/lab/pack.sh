# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# pack FOLDER: its content as an initramfs, to stdout. One may follow another in a file.
pack() {
	(cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null)
}
