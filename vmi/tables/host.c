/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "host.h"

#include <errno.h>

static void cell(struct vmi_rows *r, unsigned int column, enum vmi_type type, const json_t *v)
{
	if (type == VMI_TEXT && json_is_string(v))
		vmi_strn(r, column, json_string_value(v), json_string_length(v));
	else if (type == VMI_INTEGER && json_is_integer(v))
		vmi_int(r, column, json_integer_value(v));
	else if (type == VMI_DOUBLE && json_is_number(v))
		vmi_double(r, column, json_number_value(v));
}

int vmi_host_rows(struct vmi_rows *r, const char *topic, const struct vmi_column *columns, size_t n)
{
	json_t *a = vmi_rows_host(r, topic);

	if (!a)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(a); i++) {
		const json_t *o = json_array_get(a, i);

		vmi_row(r);
		for (size_t k = 0; k < n; k++)
			cell(r, (unsigned int)k, columns[k].type,
			     json_object_get(o, columns[k].name));
		if (vmi_row_end(r))
			break;
	}
	json_decref(a);
	return 0;
}
