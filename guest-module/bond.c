// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bond of a VF and a virtio-net device that are the same port of the network:
 * the VF carries the traffic as long as it is there, virtio-net while it is not,
 * as during a migration.
 *
 * The host's word for such a pair is one permanent MAC address for both, as it is
 * for net_failover and hv_netvsc. Linux' own bonding driver does the rest. It
 * exports nothing to other modules: the bond is made by the message that
 * `ip link add` sends, and what a race with an administrator must not split is
 * done by the device's operations with rtnl held.
 */
#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/inetdevice.h>
#include <linux/list.h>
#include <linux/moduleparam.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/rtnetlink.h>
#include <uapi/linux/if_bonding.h>

#include "iho_guest.h"

#define LINK_CHECK_MS	100
/* The first announcement may come before the host's side of a new VF forwards. */
#define ANNOUNCEMENTS	5

static int bond = 1;
module_param(bond, int, 0444);
MODULE_PARM_DESC(bond,
		 "bond a VF and the virtio-net of its MAC (1, default), or one alone, too (2)");

enum pair_state {
	PAIR_FOUND,	/* has no bond yet */
	PAIR_MADE,
	PAIR_LEFT,	/* alone, for good */
};

/* All of it is changed with rtnl held, and only by the work or when that is over. */
struct pair {
	struct list_head list;
	u8 mac[ETH_ALEN];
	enum pair_state state;
	int bond;			/* ifindex, which the kernel gives but once; 0: none */
	unsigned int mtu;
	int error;			/* why there is no bond */
	char device[IFNAMSIZ];		/* which is in use, and how */
	const char *use;
};

static LIST_HEAD(pairs);
static void look(struct work_struct *unused);
static DECLARE_WORK(look_work, look);

static bool is_virtio(const struct net_device *dev)
{
	return dev->dev.parent && !strcmp(dev_driver_string(dev->dev.parent), "virtio_net");
}

static bool is_vf(const struct net_device *dev)
{
	/* a guest cannot tell a VF from any other function of a PCI device */
	return dev->dev.parent && dev_is_pci(dev->dev.parent) && dev->type == ARPHRD_ETHER;
}

static struct net_device *find(bool (*is)(const struct net_device *dev), const u8 *mac)
{
	struct net_device *dev;

	for_each_netdev(&init_net, dev)
		if (is(dev) && ether_addr_equal(dev->perm_addr, mac))
			return dev;
	return NULL;
}

static struct net_device *bond_of(const struct pair *pair)
{
	struct net_device *dev = pair->bond ? __dev_get_by_index(&init_net, pair->bond) : NULL;

	return dev && netif_is_bond_master(dev) ? dev : NULL;
}

/* What somebody else has made of a device, or NULL */
static const char *use_of(struct net_device *dev)
{
	const struct in_device *in = __in_dev_get_rtnl(dev);
	const struct inet6_dev *in6 = __in6_dev_get(dev);

	if (netif_is_failover(dev) || netif_is_failover_slave(dev))
		return "failover";
	if (netdev_has_any_upper_dev(dev))
		return "upper";
	if (dev->flags & IFF_UP)
		return "up";
	if ((in && in->ifa_list) || (in6 && !list_empty(&in6->addr_list)))
		return "address";
	return NULL;
}

static void delete(struct net_device *dev)
{
	LIST_HEAD(gone);

	dev->rtnl_link_ops->dellink(dev, &gone);
	unregister_netdevice_many(&gone);
}

static bool leave_alone(struct pair *pair, struct net_device *dev)
{
	const char *use = dev ? use_of(dev) : NULL;

	if (!use)
		return false;
	pair->state = PAIR_LEFT;
	pair->use = use;
	strscpy(pair->device, dev->name, sizeof(pair->device));
	pr_info("bond: %pM is left alone: %s is in use (%s)\n", pair->mac, dev->name, use);
	return true;
}

static void set_primary(struct net_device *to, struct net_device *dev)
{
	struct {
		struct nlattr head;
		u32 ifindex;
	} primary = { { nla_attr_size(sizeof(u32)), IFLA_BOND_PRIMARY }, dev->ifindex };
	struct nlattr *data[IFLA_BOND_MAX + 1] = { [IFLA_BOND_PRIMARY] = &primary.head };
	struct netlink_ext_ack extack = {};
	int ret;

	ret = to->rtnl_link_ops->changelink(to, NULL, data, &extack);
	if (ret)
		pr_warn("bond: %s: %s does not become the primary port: %d %s\n", to->name,
			dev->name, ret, extack._msg ?: "");
}

static void join(struct net_device *to, struct net_device *dev, bool primary)
{
	struct netlink_ext_ack extack = {};
	const char *use;
	int ret;

	if (!dev || netdev_has_upper_dev(dev, to))
		return;
	use = use_of(dev);
	if (use) {
		pr_info("bond: %s: %s stays out: it is in use (%s)\n", to->name, dev->name, use);
		return;
	}
	ret = to->netdev_ops->ndo_add_slave(to, dev, &extack);
	if (ret) {
		pr_warn("bond: %s: %s stays out: %d %s\n", to->name, dev->name, ret,
			extack._msg ?: "");
		return;
	}
	if (primary)
		set_primary(to, dev);
	pr_info("bond: %s: has %s\n", to->name, dev->name);
}

/*
 * Makes of a pair what is to be made of it, as far as that goes without its bond.
 * Asked again with the bond: the devices may have been taken into use meanwhile.
 */
static void settle(struct pair *pair)
{
	struct net_device *virtio = find(is_virtio, pair->mac);
	struct net_device *vf = find(is_vf, pair->mac);
	struct net_device *dev = bond_of(pair);

	if (pair->state == PAIR_FOUND && (leave_alone(pair, virtio) || leave_alone(pair, vf))) {
		if (dev)
			delete(dev);
		return;
	}
	if (virtio)
		pair->mtu = virtio->mtu;
	if (!dev)
		return;
	pair->state = PAIR_MADE;
	join(dev, virtio, false);
	join(dev, vf, true);
}

static bool known(const u8 *mac)
{
	struct pair *pair;

	list_for_each_entry(pair, &pairs, list)
		if (ether_addr_equal(pair->mac, mac))
			return true;
	return false;
}

static void find_pairs(void)
{
	struct net_device *dev;
	struct pair *pair;

	for_each_netdev(&init_net, dev) {
		const u8 *mac = dev->perm_addr;

		if (!is_virtio(dev) || !is_valid_ether_addr(mac) || known(mac))
			continue;
		if (bond < 2 && !find(is_vf, mac))
			continue;
		pair = kzalloc(sizeof(*pair), GFP_KERNEL);
		if (!pair)
			return;
		ether_addr_copy(pair->mac, mac);
		list_add_tail(&pair->list, &pairs);
	}
}

static int add_message(struct sk_buff *skb, const struct pair *pair, const char *name)
{
	struct nlattr *info, *data;
	struct nlmsghdr *head;

	head = nlmsg_put(skb, 0, 0, RTM_NEWLINK, sizeof(struct ifinfomsg),
			 NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
	if (!head)
		return -EMSGSIZE;
	memset(nlmsg_data(head), 0, sizeof(struct ifinfomsg));
	/* The host's limit for the pair's packets is virtio-net's. */
	if (nla_put_string(skb, IFLA_IFNAME, name) ||
	    nla_put(skb, IFLA_ADDRESS, ETH_ALEN, pair->mac) ||
	    nla_put_u32(skb, IFLA_MTU, pair->mtu))
		return -EMSGSIZE;
	info = nla_nest_start(skb, IFLA_LINKINFO);
	if (!info || nla_put_string(skb, IFLA_INFO_KIND, "bond"))
		return -EMSGSIZE;
	data = nla_nest_start(skb, IFLA_INFO_DATA);
	/*
	 * With fail_over_mac the MAC of a port is not written, which a host that
	 * does not trust its VF refuses. They are all the same.
	 */
	if (!data || nla_put_u8(skb, IFLA_BOND_MODE, BOND_MODE_ACTIVEBACKUP) ||
	    nla_put_u32(skb, IFLA_BOND_MIIMON, LINK_CHECK_MS) ||
	    nla_put_u8(skb, IFLA_BOND_FAIL_OVER_MAC, 1) ||
	    nla_put_u8(skb, IFLA_BOND_NUM_PEER_NOTIF, ANNOUNCEMENTS))
		return -EMSGSIZE;
	nla_nest_end(skb, data);
	nla_nest_end(skb, info);
	nlmsg_end(skb, head);
	return 0;
}

/*
 * rtnetlink answers before the sender returns. It has to be addressed: without a
 * destination the leave to send is that of the socket's file, and there is none.
 */
static int ask_rtnetlink(struct sk_buff *message)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
	} answer;
	struct kvec out = { message->data, message->len };
	struct kvec in = { &answer, sizeof(answer) };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct msghdr question = { .msg_name = &to, .msg_namelen = sizeof(to) };
	struct msghdr msg = {};
	struct socket *sock;
	int ret;

	ret = sock_create_kern(&init_net, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &sock);
	if (ret)
		return ret;
	ret = kernel_sendmsg(sock, &question, &out, 1, out.iov_len);
	if (ret >= 0)
		ret = kernel_recvmsg(sock, &msg, &in, 1, in.iov_len, MSG_DONTWAIT);
	sock_release(sock);
	if (ret < 0)
		return ret;
	if (ret < (int)sizeof(answer) || answer.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

static int create_as(const struct pair *pair, const char *name)
{
	struct sk_buff *message = nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	int ret;

	if (!message)
		return -ENOMEM;
	ret = add_message(message, pair, name) ?: ask_rtnetlink(message);
	nlmsg_free(message);
	return ret;
}

/* Without rtnl: the kernel takes it itself, and loads the bonding driver if need be. */
static void create(struct pair *pair)
{
	struct net_device *dev;
	char name[IFNAMSIZ];
	unsigned int n = 0;
	int ret;

	do {
		snprintf(name, sizeof(name), "iho%u", n++);
		ret = create_as(pair, name);
	} while (ret == -EEXIST);
	rtnl_lock();
	dev = ret ? NULL : __dev_get_by_name(&init_net, name);
	pair->bond = dev ? dev->ifindex : 0;
	pair->error = ret;
	rtnl_unlock();
	if (ret)
		pr_warn("bond: none for %pM: %d%s\n", pair->mac, ret,
			ret == -EOPNOTSUPP ? ", no bonding driver" : "");
	else
		pr_info("bond: made %s for %pM\n", name, pair->mac);
}

static void look(struct work_struct *unused)
{
	struct pair *pair;

	rtnl_lock();
	find_pairs();
	list_for_each_entry(pair, &pairs, list)
		settle(pair);
	rtnl_unlock();
	list_for_each_entry(pair, &pairs, list)
		if (pair->state == PAIR_FOUND)
			create(pair);
	rtnl_lock();
	list_for_each_entry(pair, &pairs, list)
		settle(pair);
	rtnl_unlock();
}

/* Registering tells of the devices that are there already, too. */
static int on_device(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	/* a port that leaves is bonding's affair */
	if (event == NETDEV_REGISTER && (is_virtio(dev) || is_vf(dev)))
		queue_work(system_long_wq, &look_work);
	return NOTIFY_DONE;
}

static struct notifier_block device_nb = { .notifier_call = on_device };

static int show_pair(const struct pair *pair, char *buf, int at)
{
	struct net_device *to = bond_of(pair), *dev;

	at += sysfs_emit_at(buf, at, "%pM ", pair->mac);
	if (pair->state == PAIR_LEFT)
		return at + sysfs_emit_at(buf, at, "left-alone %s %s\n", pair->device, pair->use);
	if (pair->state == PAIR_FOUND)
		return at + sysfs_emit_at(buf, at, "failed %d\n", pair->error);
	if (!to)
		return at + sysfs_emit_at(buf, at, "removed\n");
	at += sysfs_emit_at(buf, at, "made %s", to->name);
	for_each_netdev(&init_net, dev)
		if (ether_addr_equal(dev->perm_addr, pair->mac) && netdev_has_upper_dev(dev, to))
			at += sysfs_emit_at(buf, at, " %s", dev->name);
	return at + sysfs_emit_at(buf, at, "\n");
}

int iho_bond_show(char *buf)
{
	struct pair *pair;
	int at = 0;

	if (!bond)
		return sysfs_emit(buf, "off\n");
	rtnl_lock();
	list_for_each_entry(pair, &pairs, list)
		at = show_pair(pair, buf, at);
	rtnl_unlock();
	return at ?: sysfs_emit(buf, "no-pair\n");
}

int iho_bond_start(void)
{
	int ret;

	if (!bond)
		return 0;
	ret = register_netdevice_notifier_net(&init_net, &device_nb);
	if (ret)
		return ret;
	/* who loads the module finds the bond there */
	flush_work(&look_work);
	return 0;
}

/* The ports are then as they were found: down, and nobody's. */
void iho_bond_stop(void)
{
	struct pair *pair, *next;
	struct net_device *dev;

	if (!bond)
		return;
	unregister_netdevice_notifier_net(&init_net, &device_nb);
	cancel_work_sync(&look_work);
	rtnl_lock();
	list_for_each_entry_safe(pair, next, &pairs, list) {
		dev = bond_of(pair);
		if (dev)
			delete(dev);
		kfree(pair);
	}
	INIT_LIST_HEAD(&pairs);
	rtnl_unlock();
}
