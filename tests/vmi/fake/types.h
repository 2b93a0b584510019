/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The types of the made-up guest's kernel. Members have Linux' names and meaning, but lie
 * elsewhere, and what nothing here reads is left out: who finds them, found them through BTF.
 * types.c is compiled for its BTF, the builder for the same layout in the memory that it fills.
 */
#ifndef FAKE_TYPES_H
#define FAKE_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

/* Pointers in guest memory are the guest's addresses: never to be followed by the builder. */

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct hlist_nulls_head {
	struct hlist_node *first;
};

struct rb_node {
	unsigned long __rb_parent_color;
	struct rb_node *rb_right, *rb_left;
};

struct rb_root {
	struct rb_node *rb_node;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

struct xa_node {
	u8 shift, offset, count, nr_values;
	struct xa_node *parent;
	void *slots[64];
};

struct xarray {
	u32 xa_flags;
	void *xa_head;
};

struct idr {
	struct xarray idr_rt;
	u32 idr_base, idr_next;
};

/* A maple node has 256 bytes, whatever its type. */
struct maple_range_64 {
	struct maple_pnode *parent;
	unsigned long pivot[15];
	void *slot[16];
};

struct maple_arange_64 {
	struct maple_pnode *parent;
	unsigned long pivot[9];
	void *slot[10];
	unsigned long gap[10];
	u64 meta;
};

struct maple_tree {
	u32 ma_lock, ma_flags;
	void *ma_root;
};

/* ---------------------------------------------------------------------------------------- files */

struct qstr {
	u32 hash, len;
	const u8 *name;
};

struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};

struct dentry_operations {
	void *d_dname;
};

struct super_block {
	struct list_head s_list;
	u32 s_dev;
	u64 s_flags, s_magic, s_maxbytes, s_blocksize;
	struct file_system_type *s_type;
	struct dentry *s_root;
	void *s_fs_info;
	char s_id[32];
};

struct file_system_type {
	const char *name;
	int fs_flags;
};

struct inode {
	u16 i_mode;
	u32 i_uid, i_gid, i_flags;
	struct super_block *i_sb;
	void *i_mapping;
	u64 i_ino;
	u32 i_nlink, i_rdev;
	s64 i_size;
	void *i_fop, *i_private;
};

struct dentry {
	u32 d_flags;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	u8 d_iname[24];
	struct dentry_operations *d_op;
	struct super_block *d_sb;
	void *d_fsdata;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct ns_common {
	struct dentry *stashed;
	void *ops;
	u32 inum;
};

struct proc_ns_operations {
	const char *name, *real_ns_name;
};

struct mnt_namespace {
	struct ns_common ns;
	struct mount *root;
	struct rb_root mounts;
	u32 nr_mounts;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct rb_node mnt_node;
	struct list_head mnt_mounts, mnt_child;
	const char *mnt_devname;
	struct mnt_namespace *mnt_ns;
	u32 mnt_id;
	u64 mnt_id_unique;
};

struct file {
	atomic64_t f_count;
	u32 f_mode, f_flags;
	void *f_op, *private_data;
	struct inode *f_inode;
	struct path f_path;
	s64 f_pos;
	struct cred *f_cred;
};

struct fdtable {
	u32 max_fds;
	struct file **fd;
	unsigned long *close_on_exec, *open_fds;
};

struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
	struct fdtable fdtab;
	struct file *fd_array[64];
};

struct fs_struct {
	int users, umask;
	struct path root, pwd;
};

/* ---------------------------------------------------------------------------------------- tasks */

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

typedef struct {
	u64 val;
} kernel_cap_t;

struct uid_gid_extent {
	u32 first, lower_first, count;
};

struct uid_gid_map {
	u32 nr_extents;
	struct uid_gid_extent extent[5];
};

struct user_namespace {
	struct uid_gid_map uid_map, gid_map;
	struct user_namespace *parent;
	int level;
	struct ns_common ns;
};

struct group_info {
	u32 usage;
	int ngroups;
	kgid_t gid[];
};

struct cred {
	atomic64_t usage;
	kuid_t uid;
	kgid_t gid;
	kuid_t suid;
	kgid_t sgid;
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
	u32 securebits;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	struct user_namespace *user_ns;
	struct group_info *group_info;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	refcount_t count;
	u32 level;
	struct hlist_head tasks[4];
	struct upid numbers[1];
};

struct pid_namespace {
	struct idr idr;
	u32 pid_allocated;
	struct task_struct *child_reaper;
	u32 level;
	struct pid_namespace *parent;
	struct user_namespace *user_ns;
	struct ns_common ns;
};

struct new_utsname {
	char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};

struct uts_namespace {
	struct new_utsname name;
	struct user_namespace *user_ns;
	struct ns_common ns;
};

struct ipc_namespace {
	struct ns_common ns;
};

struct cgroup_namespace {
	struct ns_common ns;
};

struct time_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
	struct time_namespace *time_ns;
	struct cgroup_namespace *cgroup_ns;
};

struct percpu_counter {
	s64 count;
	int *counters;
};

struct vm_area_struct {
	unsigned long vm_start, vm_end;
	struct mm_struct *vm_mm;
	unsigned long vm_flags, vm_pgoff;
	struct file *vm_file;
	void *vm_ops, *anon_name;
};

struct mm_struct {
	struct maple_tree mm_mt;
	void *pgd;
	int map_count;
	unsigned long total_vm, locked_vm, start_code, end_code, start_brk, brk, start_stack;
	unsigned long arg_start, arg_end, env_start, env_end;
	unsigned long saved_auxv[52];
	struct percpu_counter rss_stat[4];
	struct file *exe_file;
};

struct prev_cputime {
	u64 utime, stime;
};

struct task_io_accounting {
	u64 read_bytes, write_bytes, cancelled_write_bytes;
};

struct signal_struct {
	int nr_threads;
	struct list_head thread_head;
	struct pid *pids[4];
	struct tty_struct *tty;
	u64 utime, stime, sum_sched_runtime;
	struct prev_cputime prev_cputime;
	struct task_io_accounting ioac;
};

struct sched_entity {
	struct rb_node run_node;
	u8 on_rq;
	u64 sum_exec_runtime;
	struct cfs_rq *my_q;
};

struct thread_info {
	unsigned long flags;
	u32 status, cpu;
};

struct kernfs_node {
	atomic_t count;
	const char *name;
	struct kernfs_node *__parent;
	u16 flags, mode;
	void *priv;
	u64 id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	int id;
	u32 flags;
};

struct cgroup {
	struct cgroup_subsys_state self;
	unsigned long flags;
	int level;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	struct thread_info thread_info;
	u32 __state;
	void *stack;
	u32 flags;
	int on_cpu, prio, static_prio, normal_prio;
	u32 policy;
	struct sched_entity se;
	struct list_head tasks;
	struct mm_struct *mm, *active_mm;
	int exit_state, exit_code;
	int pid, tgid;
	struct task_struct *real_parent, *parent;
	struct list_head children, sibling;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
	struct list_head thread_node;
	int *set_child_tid;
	void *worker_private;
	u64 utime, stime, nvcsw, nivcsw, start_time, start_boottime;
	struct prev_cputime prev_cputime;
	struct cred *real_cred, *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct task_io_accounting ioac;
};

struct cfs_rq {
	u32 h_nr_running;
	struct rb_root tasks_timeline;
	struct sched_entity *curr;
};

struct rq {
	u32 nr_running;
	struct cfs_rq cfs;
	struct task_struct *curr, *idle;
	int cpu;
};

struct page {
	unsigned long flags;
	void *mapping;
	u64 index;
	void *private;
	u64 rest[4];
};

/* -------------------------------------------------------------------------------------- modules */

enum module_state {
	MODULE_STATE_LIVE,
	MODULE_STATE_COMING,
	MODULE_STATE_GOING,
	MODULE_STATE_UNFORMED
};

enum mod_mem_type {
	MOD_TEXT,
	MOD_DATA,
	MOD_RODATA,
	MOD_RO_AFTER_INIT,
	MOD_INIT_TEXT,
	MOD_INIT_DATA,
	MOD_INIT_RODATA,
	MOD_MEM_NUM_TYPES,
};

struct module_memory {
	void *base;
	u32 size;
};

struct elf64_sym {
	u32 st_name;
	u8 st_info, st_other;
	u16 st_shndx;
	u64 st_value, st_size;
};

struct mod_kallsyms {
	struct elf64_sym *symtab;
	u32 num_symtab;
	char *strtab, *typetab;
};

struct kernel_symbol {
	int value_offset, name_offset, namespace_offset;
};

struct kobject {
	const char *name;
	struct list_head entry;
	struct kset *kset;
};

struct kset {
	struct list_head list;
	struct kobject kobj;
};

struct module_kobject {
	struct kobject kobj;
	struct module *mod;
};

struct module {
	enum module_state state;
	struct list_head list;
	char name[56];
	struct module_kobject mkobj;
	const char *version, *srcversion;
	struct kernel_symbol *syms;
	u32 num_syms;
	int (*init)(void);
	struct module_memory mem[MOD_MEM_NUM_TYPES];
	unsigned long taints;
	struct mod_kallsyms *kallsyms;
	struct list_head source_list, target_list;
	void (*exit)(void);
	atomic_t refcnt;
};

struct module_use {
	struct list_head source_list, target_list;
	struct module *source, *target;
};

struct btf {
	void *data;
	u32 data_size;
};

struct btf_module {
	struct list_head list;
	struct module *module;
	struct btf *btf;
};

struct vm_struct {
	struct vm_struct *next;
	void *addr;
	unsigned long size, flags;
	const void *caller;
};

struct vmap_area {
	unsigned long va_start, va_end;
	struct rb_node rb_node;
	struct list_head list;
	struct vm_struct *vm;
};

enum system_states {
	SYSTEM_BOOTING,
	SYSTEM_SCHEDULING,
	SYSTEM_FREEING_INITMEM,
	SYSTEM_RUNNING,
	SYSTEM_HALT,
};

/* ------------------------------------------------------------------------------------------ log */

struct prb_data_blk_lpos {
	unsigned long begin, next;
};

struct prb_desc {
	atomic64_t state_var;
	struct prb_data_blk_lpos text_blk_lpos;
};

struct dev_printk_info {
	char subsystem[16], device[48];
};

struct printk_info {
	u64 seq, ts_nsec;
	u16 text_len;
	u8 facility;
	u8 flags : 5, level : 3;
	u32 caller_id;
	struct dev_printk_info dev_info;
};

struct prb_data_ring {
	u32 size_bits;
	char *data;
	atomic64_t head_lpos, tail_lpos;
};

struct prb_desc_ring {
	u32 count_bits;
	struct prb_desc *descs;
	struct printk_info *infos;
	atomic64_t head_id, tail_id;
};

struct printk_ringbuffer {
	struct prb_desc_ring desc_ring;
	struct prb_data_ring text_data_ring;
	atomic64_t fail;
};

/* ---------------------------------------------------------------------------------------- clock */

struct clocksource {
	u64 mask;
	const char *name;
};

struct tk_read_base {
	struct clocksource *clock;
	u64 mask, cycle_last;
	u32 mult, shift;
	u64 xtime_nsec;
	s64 base;
};

struct timekeeper {
	struct tk_read_base tkr_mono;
	u64 xtime_sec;
	s64 offs_real, offs_boot;
};

struct tk_data {
	u32 seq;
	struct timekeeper timekeeper;
};

#endif /* FAKE_TYPES_H */
