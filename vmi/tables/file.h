/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmi/tables: small files of the guest, as far as its memory has them: names in the
 * dentry cache, bytes in the page cache.
 */
#ifndef VMI_FILE_H
#define VMI_FILE_H

#include "table.h"

/*
 * Reads the file that `path` (absolute, in the file system that the guest's first process has as
 * its root) names, over symbolic links, not over mount points. Returns its length (what does not
 * fit into the buffer is cut), -ENOENT: it, or a part of it, is not in memory; or a negative errno
 * value.
 */
int vmi_file_read(struct vmi_walk *w, const char *path, char *buf, size_t size);

#endif /* VMI_FILE_H */
