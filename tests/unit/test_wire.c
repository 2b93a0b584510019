// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes over ihod's socket: the same on the other side, and nothing that has another shape.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keeper.h"
#include "text.h"
#include "wire.h"

#define SLOTS 8

/* What the reader gets: text, so that nothing but the text is carried over. */
static json_t *over(json_t *j)
{
	char *text;
	json_t *back;

	assert_non_null(j);
	text = json_dumps(j, JSON_COMPACT);
	assert_non_null(text);
	back = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(back);
	free(text);
	json_decref(j);
	return back;
}

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

/* Values that are no such number, text or boolean anywhere; NULL: the key is missing. */
static const char *const wrong_types[] = { NULL, "null", "{}", "[]", "[1]", "1.5" };

/*
 * `whole` with one value at `path` (keys and indices, separated by dots) replaced, or left out. The
 * rest is as it was, so a refusal can only be because of it.
 */
static json_t *with(const json_t *whole, const char *path, const char *value)
{
	json_t *copy = json_deep_copy(whole), *at = copy;
	char buf[100], *key, *next;

	snprintf(buf, sizeof(buf), "%s", path);
	for (key = buf; (next = strchr(key, '.')); key = next + 1) {
		*next = '\0';
		at = json_is_array(at) ? json_array_get(at, atoi(key)) : json_object_get(at, key);
		assert_non_null(at);
	}
	if (json_is_array(at)) {
		assert_non_null(json_array_get(at, atoi(key)));
		assert_int_equal(value ? json_array_set_new(at, atoi(key), parse(value))
				       : json_array_remove(at, atoi(key)),
				 0);
	} else {
		assert_non_null(json_object_get(at, key));
		assert_int_equal(value ? json_object_set_new(at, key, parse(value))
				       : json_object_del(at, key),
				 0);
	}
	return copy;
}

struct bad {
	const char *path;
	const char *values[10]; /* beside wrong_types; "=" first: instead of them; "-": missing */
};

/* `read` refuses `whole` with each of the bad values, and takes it without. */
static void refuses(int (*read)(json_t *j), json_t *whole, const struct bad *bad, size_t n)
{
	assert_int_equal(read(whole), 0);
	for (size_t i = 0; i < n; i++) {
		const char *const *v = bad[i].values;
		size_t n_types = sizeof(wrong_types) / sizeof(wrong_types[0]);

		if (*v && !strcmp(*v, "="))
			v++;
		else
			for (size_t k = 0; k < n_types; k++) {
				json_t *j = with(whole, bad[i].path, wrong_types[k]);

				if (read(j) != -EPROTO)
					fail_msg("%s: %s was taken", bad[i].path,
						 wrong_types[k] ? wrong_types[k] : "nothing");
				json_decref(j);
			}
		for (; *v; v++) {
			json_t *j = with(whole, bad[i].path, strcmp(*v, "-") ? *v : NULL);

			if (read(j) != -EPROTO)
				fail_msg("%s: %s was taken", bad[i].path, *v);
			json_decref(j);
		}
	}
	json_decref(whole);
}

static void refuses_other_roots(int (*read)(json_t *j))
{
	static const char *const roots[] = { "null", "1", "\"x\"", "true", "{}" };

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		json_t *j = parse(roots[i]);

		assert_int_equal(read(j), -EPROTO);
		json_decref(j);
	}
	assert_int_equal(read(NULL), -EPROTO);
}

#define BAD(table)  table, sizeof(table) / sizeof(table[0])
#define HUGE_NUMBER "9223372036854775807"

/* ---- maps ---- */

static json_t *some_maps(void)
{
	const struct iho_maps m = {
		.n_slots = 256,
		.slot_stride = iho_map_stride(sizeof(struct iho_slot)),
		.n_cpus = 2,
		.cpu_stride = iho_map_stride(sizeof(struct iho_cpu)),
		.bytes = 1234567,
	};

	return over(iho_wire_maps(&m));
}

static int read_maps(json_t *j)
{
	struct iho_maps m = {};
	int r = iho_wire_maps_read(&m, j);

	if (r)
		assert_int_equal(m.n_slots + m.n_cpus + m.bytes, 0);
	return r;
}

static void test_maps(void **state)
{
	static const struct bad bad[] = {
		{ "slots", { "5" } },
		{ "slots.n", { "0", "-1", "16385", HUGE_NUMBER, "\"256\"", "true" } },
		{ "slots.stride", { "0", "-1", "8", "4294967296", HUGE_NUMBER } },
		{ "cpus.n", { "0", "-2", "8193", HUGE_NUMBER } },
		{ "cpus.stride", { "0", "-8", HUGE_NUMBER } },
		{ "shared", { "0", "1", "-1", HUGE_NUMBER } },
		{ "vms", { "0", "1", "-1", HUGE_NUMBER } },
		{ "bytes", { "-1" } },
	};
	struct iho_maps m = {};
	json_t *j = some_maps();

	assert_string_equal(json_string_value(json_object_get(j, "layout")), iho_wire_layout());
	assert_int_equal(strlen(iho_wire_layout()), 16);
	assert_int_equal(iho_wire_maps_read(&m, j), 0);
	assert_int_equal(m.n_slots, 256);
	assert_int_equal(m.n_cpus, 2);
	assert_int_equal(m.slot_stride, iho_map_stride(sizeof(struct iho_slot)));
	assert_int_equal(m.cpu_stride, iho_map_stride(sizeof(struct iho_cpu)));
	assert_int_equal(m.bytes, 1234567);
	refuses(read_maps, j, BAD(bad));
	refuses_other_roots(read_maps);
}

/* ---- host ---- */

static json_t *some_host(void)
{
	const struct iho_directory d = { .vendor_module = "kvm_intel",
					 .hw = true,
					 .apicv_param = -1 };

	return over(iho_wire_host(&d));
}

static int read_host(json_t *j)
{
	struct iho_directory d = {};
	char module[32];

	return iho_wire_host_read(&d, module, sizeof(module), j);
}

static void test_host(void **state)
{
	static const struct bad bad[] = {
		{ "vendor_module", { "1", "true" } },
		{ "hardware", { "1", "0", "\"true\"" } },
		{ "apicv", { "-2", "2", HUGE_NUMBER, "false" } },
	};
	struct iho_directory d = {};
	char module[32], small[8];
	json_t *j = some_host();

	assert_int_equal(iho_wire_host_read(&d, module, sizeof(module), j), 0);
	assert_string_equal(d.vendor_module, "kvm_intel");
	assert_ptr_equal(d.vendor_module, module);
	assert_true(d.hw);
	assert_int_equal(d.apicv_param, -1);
	assert_int_equal(iho_wire_host_read(&d, small, sizeof(small), j), 0);
	assert_string_equal(small, "kvm_int");
	refuses(read_host, j, BAD(bad));
	refuses_other_roots(read_host);
	/* no module is no error */
	d.vendor_module = NULL;
	j = over(iho_wire_host(&d));
	assert_int_equal(iho_wire_host_read(&d, module, sizeof(module), j), 0);
	assert_string_equal(module, "");
	json_decref(j);
}

/* ---- directory ---- */

static struct iho_directory keeper;
static struct iho_vcpu_entry keeper_vcpu[SLOTS];
static struct iho_snapshot *snap;

static void use_slot(unsigned int i, uint64_t start_ns)
{
	snap->vcpu[i].used = true;
	snap->vcpu[i].slot = calloc(1, sizeof(struct iho_slot));
	assert_non_null(snap->vcpu[i].slot);
	snap->vcpu[i].slot->start_ns = start_ns;
}

/* Two VMs; vCPUs in slots 1 and 7; slot 3 has a new owner, and slot 4 nobody. */
static int setup(void **state)
{
	struct iho_vm_entry *vm = calloc(2, sizeof(*vm));

	snap = iho_snapshot_new(SLOTS);
	assert_non_null(snap);
	assert_non_null(vm);
	use_slot(1, 1111);
	use_slot(3, 3333);
	use_slot(7, 7777);
	memset(keeper_vcpu, 0, sizeof(keeper_vcpu));
	keeper_vcpu[1] = (struct iho_vcpu_entry){ .affinity = "0-3,8",
						  .n_cpus = 5,
						  .start_ns = 1111 };
	keeper_vcpu[3] = (struct iho_vcpu_entry){ .affinity = "2", .n_cpus = 1, .start_ns = 2222 };
	keeper_vcpu[4] = (struct iho_vcpu_entry){ .affinity = "2", .n_cpus = 1, .start_ns = 4444 };
	keeper_vcpu[7] = (struct iho_vcpu_entry){ .affinity = "", .n_cpus = 0, .start_ns = 7777 };
	vm[0] = (struct iho_vm_entry){
		.pid = 123, .start_ns = 5000000000, .key = UINT64_MAX, .id = { "web", "qemu" }
	};
	vm[1] = (struct iho_vm_entry){ .pid = INT32_MAX,
				       .start_ns = 1,
				       .nth = 3,
				       .namesake = true,
				       .id = { "web \"2\"\\ \xc3\xa4", "unknown" } };
	keeper = (struct iho_directory){
		.vm = vm,
		.n_vms = 2,
		.vcpu = keeper_vcpu,
		.n_vcpus = SLOTS,
		.cpu_ns = 987654321,
		.rss_bytes = 1 << 20,
		.ns_per_event = 52.5,
		.bpf_share = -1,
	};
	return 0;
}

static int teardown(void **state)
{
	iho_snapshot_free(snap);
	free(keeper.vm);
	return 0;
}

static struct iho_directory reader;
static struct iho_vcpu_entry reader_vcpu[SLOTS];

/* Into a directory that held something before: of what is refused nothing stays. */
static int read_directory(json_t *j)
{
	int r;

	reader.vcpu = reader_vcpu;
	reader.n_vcpus = SLOTS;
	memset(reader_vcpu, 0x55, sizeof(reader_vcpu));
	reader.n_vms = 0;
	r = iho_wire_directory_read(&reader, reader_vcpu, j);
	if (r) {
		assert_int_equal(reader.n_vms, 0);
		for (int i = 0; i < SLOTS; i++) {
			assert_int_equal(reader_vcpu[i].start_ns, 0);
			assert_string_equal(reader_vcpu[i].affinity, "");
		}
	}
	return r;
}

static void test_directory(void **state)
{
	json_t *j = over(iho_wire_directory(&keeper, snap));

	assert_int_equal(read_directory(j), 0);
	assert_int_equal(reader.n_vms, 2);
	for (int i = 0; i < 2; i++) {
		const struct iho_vm_entry *a = &keeper.vm[i], *b = &reader.vm[i];

		assert_int_equal(a->pid, b->pid);
		assert_int_equal(a->start_ns, b->start_ns);
		assert_true(a->key == b->key);
		assert_int_equal(a->nth, b->nth);
		assert_int_equal(a->namesake, b->namesake);
		assert_string_equal(a->id.name, b->id.name);
		assert_string_equal(a->id.vmm, b->id.vmm);
	}
	assert_int_equal(json_array_size(json_object_get(j, "vcpus")), 2);
	assert_string_equal(reader_vcpu[1].affinity, "0-3,8");
	assert_int_equal(reader_vcpu[1].n_cpus, 5);
	assert_int_equal(reader_vcpu[1].start_ns, 1111);
	assert_int_equal(reader_vcpu[7].start_ns, 7777);
	assert_int_equal(reader_vcpu[7].n_cpus, 0);
	assert_int_equal(reader_vcpu[3].start_ns, 0); /* its last owner's is not its own */
	assert_int_equal(reader_vcpu[4].start_ns, 0);
	assert_int_equal(reader.cpu_ns, 987654321);
	assert_int_equal(reader.rss_bytes, 1 << 20);
	assert_true(reader.ns_per_event == 52.5 && reader.bpf_share == -1);
	json_decref(j);
}

/* The next answer may hold less: nothing of the one before stays. */
static void test_directory_again(void **state)
{
	json_t *j = over(iho_wire_directory(&keeper, snap));

	assert_int_equal(read_directory(j), 0);
	json_decref(j);
	keeper.n_vms = 1;
	snap->vcpu[7].used = false;
	j = over(iho_wire_directory(&keeper, snap));
	assert_int_equal(iho_wire_directory_read(&reader, reader_vcpu, j), 0);
	json_decref(j);
	assert_int_equal(reader.n_vms, 1);
	assert_int_equal(reader_vcpu[1].start_ns, 1111);
	assert_int_equal(reader_vcpu[7].start_ns, 0);
}

static void test_directory_refused(void **state)
{
	static const struct bad bad[] = {
		{ "vms", { "=", "-", "null", "5", "{}", "\"x\"" } },
		{ "vms.0", { "=", "null", "[]", "5", "{}" } },
		{ "vms.1.pid", { "0", "-1", "2147483648", HUGE_NUMBER, "\"1\"" } },
		{ "vms.1.start_ns", { "-1", "\"1\"" } },
		{ "vms.1.nth", { "-1", "4294967296" } },
		{ "vms.1.key",
		  { "5", "\"\"", "\"0x\"", "\"12\"", "\"0x-1\"", "\"0x 1\"",
		    "\"0x10000000000000000\"" } },
		{ "vms.0.key", { "\"0x0x1\"", "\"0x+1\"", "\"0x1g\"", "\"-0x1\"", "\" 0x1\"" } },
		{ "vms.1.name", { "5", "true" } },
		{ "vms.1.vmm", { "5" } },
		{ "vms.1.namesake", { "0", "1", "\"no\"" } },
		{ "vcpus", { "=", "-", "null", "5", "{}", "\"x\"" } },
		{ "vcpus.0", { "=", "null", "5", "{}" } },
		{ "vcpus.1.slot", { "-1", "8", HUGE_NUMBER, "\"1\"" } },
		{ "vcpus.1.start_ns", { "-1" } },
		{ "vcpus.1.cpus", { "-1", "2147483648" } },
		{ "vcpus.1.affinity", { "5" } },
		{ "collector", { "5" } },
		{ "collector.cpu_ns", { "-1", "\"5\"" } },
		{ "collector.rss_bytes", { "-1" } },
		{ "collector.bpf_ns_per_event", { "=", "-", "null", "\"1\"", "{}", "true" } },
		{ "collector.bpf_share", { "=", "-", "null", "\"1\"", "{}", "true" } },
	};

	refuses(read_directory, over(iho_wire_directory(&keeper, snap)), BAD(bad));
	refuses_other_roots(read_directory);
}

/* More than there can be; and texts that are too long are cut, between characters. */
static void test_directory_bounds(void **state)
{
	json_t *whole = over(iho_wire_directory(&keeper, snap)), *j, *vms, *vcpus;
	char name[100];

	j = json_deep_copy(whole);
	vcpus = json_object_get(j, "vcpus");
	while (json_array_size(vcpus) <= SLOTS)
		json_array_append(vcpus, json_array_get(vcpus, 0));
	assert_int_equal(read_directory(j), -EPROTO);
	json_array_remove(vcpus, 0);
	assert_int_equal(read_directory(j), 0); /* one slot twice does no harm */
	json_decref(j);

	j = json_deep_copy(whole);
	vms = json_object_get(j, "vms");
	while (json_array_size(vms) <= 16384)
		json_array_append(vms, json_array_get(vms, 0));
	assert_int_equal(read_directory(j), -EPROTO);
	json_array_remove(vms, 0);
	assert_int_equal(read_directory(j), 0);
	assert_int_equal(reader.n_vms, 16384);
	json_decref(j);

	memset(name, 'x', sizeof(name));
	memcpy(name + 62, "\xc3\xa4", 3); /* its second byte is the 64th, where the end must be */
	json_object_set_new(json_array_get(json_object_get(whole, "vms"), 0), "name",
			    json_string(name));
	assert_int_equal(read_directory(whole), 0);
	assert_int_equal(strlen(reader.vm[0].id.name), 62);
	json_decref(whole);
}

/* A name that is no UTF-8 does not spoil the others. */
static void test_text(void **state)
{
	json_t *j = iho_text_json("a\xff\xc3z");

	assert_string_equal(json_string_value(j), "a??z");
	json_decref(j);
	strcpy(keeper.vm[0].id.name, "\xc3");
	j = over(iho_wire_directory(&keeper, snap));
	assert_int_equal(read_directory(j), 0);
	assert_string_equal(reader.vm[0].id.name, "?");
	json_decref(j);
}

/* ---- features ---- */

static struct iho_feature rows[] = {
	{ "kvm", true, false, "", "", "kvm_amd" },
	{ "kvm_exit", true, true, "tp_btf", "", "kvm" },
	{ "kvm_ple_window", false, false, "", "no pause windows", "kvm" },
};

static int read_features(json_t *j)
{
	struct iho_features f;
	int r = iho_wire_features_read(&f, j);

	assert_true(!r || !f.v);
	iho_features_free(&f);
	return r;
}

static void test_features(void **state)
{
	static const struct bad bad[] = {
		{ "1", { "=", "null", "5", "{}", "[]" } },
		{ "2.name", { "5" } },
		{ "2.how", { "5" } },
		{ "2.cost", { "5" } },
		{ "2.detail", { "5" } },
		{ "2.present", { "0", "\"true\"" } },
		{ "2.used", { "1", "\"true\"" } },
	};
	const struct iho_features in = { rows, 3 };
	json_t *j = over(iho_wire_features(&in)), *many;
	struct iho_features f;

	assert_int_equal(iho_wire_features_read(&f, j), 0);
	assert_int_equal(f.n, 3);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(f.v[i].name, rows[i].name);
		assert_string_equal(f.v[i].how, rows[i].how);
		assert_string_equal(f.v[i].cost, rows[i].cost);
		assert_string_equal(f.v[i].detail, rows[i].detail);
		assert_int_equal(f.v[i].present, rows[i].present);
		assert_int_equal(f.v[i].used, rows[i].used);
	}
	iho_features_free(&f);
	many = json_array();
	while (json_array_size(many) <= 1000)
		json_array_append(many, json_array_get(j, 0));
	assert_int_equal(read_features(many), -EPROTO);
	json_decref(many);
	refuses(read_features, j, BAD(bad));
	refuses_other_roots(read_features);
}

/* ---- names ---- */

static int read_names(json_t *j)
{
	struct iho_names *n;
	int r = iho_names_read(&n, j);

	assert_true(!r == !!n);
	iho_names_close(n);
	return r;
}

static void same_names(const struct iho_names *a, const struct iho_names *b)
{
	char x[200], y[200];

	for (uint32_t code = 0; code < 2000; code++) {
		for (int isa = 0; isa < 4; isa++) {
			iho_exit_name(a, isa, code, x, sizeof(x));
			iho_exit_name(b, isa, code, y, sizeof(y));
			assert_string_equal(x, y);
		}
		iho_user_exit_name(a, code, x, sizeof(x));
		iho_user_exit_name(b, code, y, sizeof(y));
		assert_string_equal(x, y);
		iho_softirq_name(a, code, x, sizeof(x));
		iho_softirq_name(b, code, y, sizeof(y));
		assert_string_equal(x, y);
		iho_apicv_reason_name(a, code, x, sizeof(x));
		iho_apicv_reason_name(b, code, y, sizeof(y));
		assert_string_equal(x, y);
	}
	iho_exit_name(a, IHO_ISA_VMX, 0x80000021, x, sizeof(x));
	iho_exit_name(b, IHO_ISA_VMX, 0x80000021, y, sizeof(y));
	assert_string_equal(x, y);
	assert_string_equal(iho_names_source(a), iho_names_source(b));
}

static void test_names(void **state)
{
	static const struct bad bad[] = {
		{ "vmx", { "=", "-", "null", "5", "{}", "[5]", "[[]]", "[[1]]" } },
		{ "vmx", { "=", "[[\"1\",\"x\"]]", "[[1,2]]", "[[-1,\"x\"]]" } },
		{ "svm",
		  { "=", "-", "null", "[[4294967296,\"x\"]]", "[[" HUGE_NUMBER ",\"x\"]]",
		    "[null]" } },
		{ "vmx_flags", { "=", "-", "{}", "[[1.5,\"x\"]]" } },
		{ "user", { "=", "-", "\"x\"", "[[[],\"x\"]]" } },
		{ "softirq", { "=", "-", "1", "[{\"0\":1}]" } },
		{ "apicv",
		  { "=", "-", "1", "[5]", "[[-1,\"x\"]]", "[[" HUGE_NUMBER ",\"x\"]]",
		    "[[0,1]]" } },
	};
	struct iho_names *a, *b;
	json_t *j, *many;
	char name[64];

	assert_int_equal(iho_names_open(&a, NULL), 0);
	j = over(iho_names_wire(a));
	assert_int_equal(iho_names_read(&b, j), 0);
	same_names(a, b);
	iho_exit_name(b, IHO_ISA_VMX, 12, name, sizeof(name)); /* SDM, appendix C */
	assert_string_equal(name, "HLT");
	iho_names_close(a);
	iho_names_close(b);
	many = json_array();
	while (json_array_size(many) <= 4096)
		json_array_append_new(many, json_pack("[i, s]", 1, "x"));
	assert_int_equal(json_object_set_new(j, "svm", many), 0);
	assert_int_equal(read_names(j), -EPROTO);
	json_array_remove(many, 0);
	assert_int_equal(read_names(j), 0);
	refuses(read_names, j, BAD(bad));
	refuses_other_roots(read_names);
}

static int free_reader(void **state)
{
	free(reader.vm);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_host),
		cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, free_reader);
}
