// SPDX-License-Identifier: GPL-2.0-only
/* /sys/kernel/iho_guest: see README.md. */
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "iho_guest.h"

static struct kobject *top;
static struct kobject **cpus;

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", iho_state());
}

static ssize_t timer_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", iho_timer_state());
}

static ssize_t ipi_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", iho_ipi_state());
}

static ssize_t bond_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return iho_bond_show(buf);
}

static struct kobj_attribute state_attr = __ATTR_RO(state);
static struct kobj_attribute timer_attr = __ATTR_RO(timer);
static struct kobj_attribute ipi_attr = __ATTR_RO(ipi);
static struct kobj_attribute bond_attr = __ATTR_RO(bond);

static const struct attribute *top_attrs[] = {
	&state_attr.attr,
	&timer_attr.attr,
	&ipi_attr.attr,
	&bond_attr.attr,
	NULL
};

static struct iho_vcpu *vcpu_of(struct kobject *kobj)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		if (cpus[cpu] == kobj)
			break;
	return per_cpu_ptr(&iho_vcpus, cpu);
}

static ssize_t donated_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", !!READ_ONCE(vcpu_of(kobj)->page));
}

static ssize_t error_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", READ_ONCE(vcpu_of(kobj)->error));
}

static ssize_t renewed_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(vcpu_of(kobj)->renewed));
}

static struct kobj_attribute donated_attr = __ATTR_RO(donated);
static struct kobj_attribute error_attr = __ATTR_RO(error);
static struct kobj_attribute renewed_attr = __ATTR_RO(renewed);

static const struct attribute *cpu_attrs[] = {
	&donated_attr.attr,
	&error_attr.attr,
	&renewed_attr.attr,
	NULL
};

/* Of the page, where there has been one: 32 or 64 bits */
static struct field {
	const char *name;
	size_t offset;
	size_t size;
	struct kobj_attribute attr;
} fields[] = {
	{ "modes", offsetof(struct iho_page, modes), 4 },
	{ "generation", offsetof(struct iho_page, generation), 4 },
	{ "seen_generation", offsetof(struct iho_page, seen_generation), 4 },
	{ "deadlines", offsetof(struct iho_page, deadlines), 8 },
	{ "fired", offsetof(struct iho_page, fired), 8 },
	{ "spurious", offsetof(struct iho_page, spurious), 8 },
	{ "idle_ns", offsetof(struct iho_page, idle_ns), 8 },
	{ "irq_ns", offsetof(struct iho_page, irq_ns), 8 },
	{ "softirq_ns", offsetof(struct iho_page, softirq_ns), 8 },
	{ "updated_ns", offsetof(struct iho_page, updated_ns), 8 },
	{ "ipis_posted", offsetof(struct iho_page, ipis_posted), 8 },
	{ "ipis_notified", offsetof(struct iho_page, ipis_notified), 8 },
	{ "ipis_asked", offsetof(struct iho_page, ipis_asked), 8 },
};

static ssize_t field_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	const struct field *f = container_of(attr, struct field, attr);
	const void *page = vcpu_of(kobj)->memory;
	u64 value = 0;

	if (page && f->size == 4)
		value = READ_ONCE(*(const u32 *)(page + f->offset));
	else if (page)
		value = READ_ONCE(*(const u64 *)(page + f->offset));
	return sysfs_emit(buf, "%llu\n", value);
}

static int add_fields(struct kobject *kobj)
{
	struct field *f;
	int ret;

	for (f = fields; f < fields + ARRAY_SIZE(fields); f++) {
		f->attr.attr.name = f->name;
		f->attr.attr.mode = 0444;
		f->attr.show = field_show;
		ret = sysfs_create_file(kobj, &f->attr.attr);
		if (ret)
			return ret;
	}
	return 0;
}

int iho_sysfs_add(void)
{
	int ret;

	top = kobject_create_and_add("iho_guest", kernel_kobj);
	if (!top)
		return -ENOMEM;
	ret = sysfs_create_files(top, top_attrs);
	if (ret)
		iho_sysfs_remove();
	return ret;
}

int iho_sysfs_add_cpus(void)
{
	unsigned int cpu;
	char name[16];
	int ret;

	cpus = kcalloc(nr_cpu_ids, sizeof(*cpus), GFP_KERNEL);
	if (!cpus)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		snprintf(name, sizeof(name), "cpu%u", cpu);
		cpus[cpu] = kobject_create_and_add(name, top);
		if (!cpus[cpu])
			return -ENOMEM;
		ret = sysfs_create_files(cpus[cpu], cpu_attrs) ?: add_fields(cpus[cpu]);
		if (ret)
			return ret;
	}
	return 0;
}

void iho_sysfs_remove(void)
{
	unsigned int cpu;

	if (cpus)
		for_each_possible_cpu(cpu)
			kobject_put(cpus[cpu]);
	kobject_put(top);
	kfree(cpus);
}
