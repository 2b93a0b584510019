/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compiled by clang for BPF, for the BTF that it then writes of these types. */
#include "types.h"

#define KEEP(name) struct name name
/* Enums, and types that nothing holds, are kept by a member. */
struct fake_types {
	KEEP(task_struct);
	KEEP(mm_struct);
	KEEP(vm_area_struct);
	KEEP(maple_range_64);
	KEEP(maple_arange_64);
	KEEP(xa_node);
	KEEP(signal_struct);
	KEEP(pid);
	KEEP(pid_namespace);
	KEEP(user_namespace);
	KEEP(uts_namespace);
	KEEP(ipc_namespace);
	KEEP(cgroup_namespace);
	KEEP(time_namespace);
	KEEP(mnt_namespace);
	KEEP(nsproxy);
	KEEP(cred);
	KEEP(group_info)[1];
	KEEP(fs_struct);
	KEEP(files_struct);
	KEEP(file);
	KEEP(dentry);
	KEEP(dentry_operations);
	KEEP(inode);
	KEEP(super_block);
	KEEP(file_system_type);
	KEEP(mount);
	KEEP(proc_ns_operations);
	KEEP(kernfs_node);
	KEEP(cgroup);
	KEEP(css_set);
	KEEP(rq);
	KEEP(page);
	KEEP(module);
	KEEP(mod_kallsyms);
	KEEP(kernel_symbol);
	KEEP(module_use);
	KEEP(kset);
	KEEP(btf);
	KEEP(btf_module);
	KEEP(vm_struct);
	KEEP(vmap_area);
	KEEP(prb_desc);
	KEEP(printk_info);
	KEEP(printk_ringbuffer);
	KEEP(clocksource);
	KEEP(timekeeper);
	KEEP(tk_data);
	KEEP(hlist_nulls_head);
	enum system_states system_states;
	enum mod_mem_type mod_mem_type;
} fake_types;
