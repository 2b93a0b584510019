#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the tables about files, sockets and the network with what the guest itself says.

compare_network.py TABLE TRUTH QUERY...

TRUTH is a folder as guest/collect makes it, of the moment of which QUERY knows the memory; QUERY is a
command that takes a statement and prints a JSON array. Rows must be the same, and as many. Prints each
that is on one side only; exit status 1 if there is one, or if there was nothing to compare.
"""
import collections
import ipaddress
import json
import os
import re
import socket
import struct
import subprocess
import sys

from compare_processes import presentable

O_CLOEXEC = 0o2000000
STATES = ['', 'ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'FIN_WAIT1', 'FIN_WAIT2', 'TIME_WAIT',
          'CLOSED', 'CLOSE_WAIT', 'LAST_ACK', 'LISTEN', 'CLOSING']
# files of /proc/net: family, protocol (None: of raw sockets, what they have for a port), hash table
INET = {'tcp': (2, 6, 'tcp'), 'tcp6': (10, 6, 'tcp'), 'udp': (2, 17, 'udp'), 'udp6': (10, 17, 'udp'),
        'udplite': (2, 136, 'udplite'), 'udplite6': (10, 136, 'udplite'),
        'raw': (2, None, 'raw'), 'raw6': (10, None, 'raw6'),
        'icmp': (2, 1, 'ping'), 'icmp6': (10, 58, 'ping')}
FLAGS = {'UP': 1 << 0, 'BROADCAST': 1 << 1, 'DEBUG': 1 << 2, 'LOOPBACK': 1 << 3,
         'POINTOPOINT': 1 << 4, 'NOTRAILERS': 1 << 5, 'RUNNING': 1 << 6, 'NOARP': 1 << 7,
         'PROMISC': 1 << 8, 'ALLMULTI': 1 << 9, 'MASTER': 1 << 10, 'SLAVE': 1 << 11,
         'MULTICAST': 1 << 12, 'PORTSEL': 1 << 13, 'AUTOMEDIA': 1 << 14, 'DYNAMIC': 1 << 15,
         'LOWER_UP': 1 << 16, 'DORMANT': 1 << 17}
GENERIC_OPTIONS = {'rw', 'ro', 'sync', 'dirsync', 'mand', 'lazytime', 'nosuid', 'nodev', 'noexec',
                   'noatime', 'nodiratime', 'relatime', 'nosymfollow', 'idmapped'}
TABLE_IDS = {'main': 254, 'local': 255, 'default': 253}


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def lines(path, skip=1):
    """Fields of a file of /proc/net that has a header."""
    if not os.path.exists(path):
        return []
    return [line.split() for line in read(path).decode('utf-8', 'replace').splitlines()[skip:]]


def unescape(field):
    """Mounts: what would break a line is \\ooo."""
    raw = re.sub(rb'\\([0-7]{3})', lambda m: bytes([int(m[1], 8)]), field)
    return presentable(raw)


def endpoint(text):
    """"0100007F:1F41": words of the machine's order, and a port."""
    address, port = text.split(':')
    words = [int(address[i:i + 8], 16) for i in range(0, len(address), 8)]
    raw = struct.pack(f'<{len(words)}I', *words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


Sock = collections.namedtuple('Sock', 'hash family protocol local local_port remote remote_port state '
                                      'inode path net')


class Comparison:
    def __init__(self, truth, query):
        self.truth = truth
        self.query_command = query
        self.compared = self.bad = 0
        self.pids = sorted(int(p) for p in os.listdir(f'{truth}/proc') if p.isdigit())
        self.net = self.namespace(1, 'net')

    def namespace(self, pid, which):
        match = re.search(rf'^{which} \w+:\[(\d+)\]$', read(f'{self.truth}/proc/{pid}/ns').decode(),
                          re.M)
        return match[1] if match else None

    def query(self, statement):
        done = subprocess.run(self.query_command + [statement], capture_output=True, check=False)
        if done.returncode or done.stderr:
            sys.exit(f'compare_network.py: {statement}: {done.stderr.decode()}')
        return json.loads(done.stdout)

    def rows(self, statement):
        """Tuples; a torn row is none of a guest that rests."""
        return [tuple(row.values()) for row in self.query(statement)]

    def same(self, what, theirs, ours):
        theirs, ours = collections.Counter(theirs), collections.Counter(ours)
        self.compared += theirs.total()
        for row in (theirs - ours).elements():
            self.bad += 1
            print(f'{what}: the guest has {row}')
        for row in (ours - theirs).elements():
            self.bad += 1
            print(f'{what}: the table has {row}')

    def json(self, name):
        return json.loads(read(f'{self.truth}/{name}.json') or b'[]')

    # ------------------------------------------------------------------------------------- files

    def descriptors(self):
        """(pid, fd, what it is); guest/collect writes line ends and backslashes as \\ooo."""
        for pid in self.pids:
            for line in read(f'{self.truth}/proc/{pid}/fd').split(b'\n')[:-1]:
                fd, _, name = line.partition(b' ')
                yield pid, int(fd), name.replace(b'\\012', b'\n').replace(b'\\134', b'\\')

    def process_open_files(self):
        theirs, places = [], []
        for pid, fd, name in self.descriptors():
            # a path longer than a page cannot be read from a link either
            theirs.append((pid, fd, presentable(name) if name else None))
            info = f'{self.truth}/proc/{pid}/fdinfo/{fd}'
            if os.path.exists(info):
                text = read(info).decode()
                places.append((pid, fd, int(re.search(r'^pos:\s*(\d+)', text, re.M)[1]),
                               int(re.search(r'^flags:\s*(\d+)', text, re.M)[1], 8) & ~O_CLOEXEC))
        self.same('files', theirs, self.rows('SELECT pid, fd, path FROM process_open_files'))
        known = {(p[0], p[1]) for p in places}
        ours = self.rows(f'SELECT pid, fd, "offset", open_flags & ~{O_CLOEXEC} FROM '
                         'process_open_files')
        self.same('places', places, [r for r in ours if r[:2] in known])
        one = collections.Counter(pid for pid, _, _ in theirs).most_common(1)[0][0]
        self.same('of one process', [t for t in theirs if t[0] == one],
                  self.rows(f'SELECT pid, fd, path FROM process_open_files WHERE pid = {one}'))
        self.same('torn', [(0,)], self.rows('SELECT count(*) FROM process_open_files WHERE torn'))

    def mounts_of(self, pid):
        for line in read(f'{self.truth}/proc/{pid}/mountinfo').splitlines():
            f = line.split(b' ')
            sep = f.index(b'-')
            yield int(f[0]), f[4], f[5].decode(), f[sep + 1], f[sep + 2], f[sep + 3].decode()

    def mounts(self):
        seen = {}
        for pid in self.pids:
            ns = self.namespace(pid, 'mnt')
            if ns and os.path.getsize(f'{self.truth}/proc/{pid}/mountinfo') and \
                    b'Kthread:\t1' not in read(f'{self.truth}/proc/{pid}/status') and \
                    os.path.getsize(f'{self.truth}/proc/{pid}/cmdline'):
                seen.setdefault(ns, pid)
        for ns, pid in seen.items():
            theirs, flags = [], {}
            for mount, path, options, kind, source, super_options in self.mounts_of(pid):
                theirs.append((mount, unescape(path), unescape(kind), unescape(source)))
                options, super_options = set(options.split(',')), set(super_options.split(','))
                both = (options | super_options) & GENERIC_OPTIONS
                if 'ro' in both:
                    both.discard('rw')
                flags[mount] = both
            where = f"WHERE mnt_namespace = '{ns}'"
            self.same(f'mounts of {pid}', theirs,
                      self.rows(f'SELECT mount_id, path, type, device FROM mounts {where}'))
            ours = self.rows(f'SELECT mount_id, flags FROM mounts {where}')
            self.same(f'flags of {pid}', [(m, tuple(sorted(f))) for m, f in flags.items()],
                      [(m, tuple(sorted(f.split(',')))) for m, f in ours])
            if pid == 1:
                self.same('by default', theirs,
                          self.rows('SELECT mount_id, path, type, device FROM mounts'))
        self.sizes()

    def sizes(self):
        """statfs: what `stat -f` said of each path; rootfs' free blocks are those of another moment."""
        theirs = []
        for line in read(f'{self.truth}/statfs').decode().splitlines():
            *numbers, path = line.split(' ', 6)
            theirs.append((path, *map(int, numbers)))
        ours = self.rows('SELECT path, blocks_size, blocks, blocks_free, blocks_available, inodes, '
                         'inodes_free, type FROM mounts')
        unknown = {r[0] for r in ours if r[1] is None}
        self.same('without sizes', sorted(r[0] for r in ours if r[7] in ('ext4', 'overlay')),
                  sorted(unknown))
        moving = {r[0] for r in ours if r[7] == 'rootfs'}
        self.same('sizes', [r[:3] if r[0] in moving else r for r in theirs if r[0] not in unknown],
                  [r[:3] if r[0] in moving else r[:7] for r in ours if r[0] not in unknown])

    # ----------------------------------------------------------------------------------- sockets

    def folders(self):
        yield self.net, f'{self.truth}/net'
        for name in os.listdir(self.truth):
            if name.startswith('net-') and name[4:] != self.net:
                yield name[4:], f'{self.truth}/{name}'

    def inet(self, net, folder):
        for name, (family, protocol, table) in INET.items():
            for f in lines(f'{folder}/{name}'):
                local, remote, state = endpoint(f[1]), endpoint(f[2]), int(f[3], 16)
                yield Sock('tcp_listen' if table == 'tcp' and state == 10 else table, family,
                           local[1] if protocol is None else protocol, *local, *remote,
                           STATES[state] if protocol == 6 else '', int(f[9]), '', net)

    def unix(self, net, folder):
        path = f'{folder}/unix'
        for line in read(path).splitlines()[1:] if os.path.exists(path) else []:
            f = line.split(maxsplit=7)
            yield Sock('unix', 1, 0, '', 0, '', 0, '', int(f[6]),
                       presentable(f[7]) if len(f) > 7 else '', net)

    def others(self, net, folder):
        for f in lines(f'{folder}/netlink'):
            yield Sock('netlink', 16, int(f[1]), '', 0, '', 0, '', int(f[9]), '', net)
        for f in lines(f'{folder}/packet'):
            yield Sock('packet', 17, 0, '', 0, '', 0, '', int(f[8]), '', net)

    def all_sockets(self, *kinds):
        return [s for net, folder in self.folders() for kind in kinds for s in kind(net, folder)]

    def sockets(self):
        ours = self.rows(
            "SELECT hash, family, protocol, ifnull(local_address, ''), ifnull(local_port, 0), "
            "ifnull(remote_address, ''), ifnull(remote_port, 0), ifnull(state, ''), socket, "
            "ifnull(path, ''), net_namespace FROM sockets")
        known = {net for net, _ in self.folders()}
        self.same('sockets', map(tuple, self.all_sockets(self.inet, self.unix, self.others)),
                  [r for r in ours if r[-1] in known])
        self.same('namespaces', [()], [()] if {r[-1] for r in ours} <= known else [])

    def held(self):
        for pid, fd, name in self.descriptors():
            m = re.fullmatch(rb'socket:\[(\d+)\]', name)
            if m:
                yield pid, fd, int(m[1])

    def process_open_sockets(self):
        columns = ('family, protocol, local_address, local_port, remote_address, remote_port, state, '
                   'socket, path, net_namespace')
        ours = self.rows(f'SELECT pid, fd, {columns} FROM process_open_sockets')
        held = list(self.held())
        self.same('who has them', held, [(r[0], r[1], r[9]) for r in ours if r[0] != -1])
        findable = self.all_sockets(self.inet, self.unix)
        by_inode = {s.inode: s[1:] for s in findable + self.all_sockets(self.others) if s.inode}
        self.same('those that can be found',
                  [(p, fd, *by_inode[i]) for p, fd, i in held if i in by_inode],
                  [r for r in ours if r[0] != -1 and r[9] in by_inode])
        # the others were never bound
        for r in ours:
            if r[0] != -1 and r[9] not in by_inode:
                self.same('never bound', [(0, 0, '')], [(r[5], r[7], r[10])])
        taken = {i for _, _, i in held}
        self.same('nobody\'s', [(-1, -1, *s[1:]) for s in findable if s.inode not in taken],
                  [r for r in ours if r[0] == -1])
        one = held[0][0]
        self.same('of one process', [h for h in held if h[0] == one],
                  self.rows(f'SELECT pid, fd, socket FROM process_open_sockets WHERE pid = {one}'))

    def listening_ports(self):
        """As osquery makes it of its process_open_sockets."""
        holders = collections.defaultdict(list)
        for pid, fd, inode in self.held():
            holders[inode].append((pid, fd))
        theirs = []
        for s in self.all_sockets(self.inet, self.unix):
            if s.remote_port or (s.family == 1 and not s.path):
                continue
            for pid, fd in holders.get(s.inode, [(-1, -1)]):
                theirs.append((pid, s.local_port, s.protocol, s.family, s.local, fd, s.inode, s.path,
                               s.net))
        self.same('ports', theirs, self.rows(
            'SELECT pid, port, protocol, family, address, fd, socket, path, net_namespace '
            'FROM listening_ports'))

    # ----------------------------------------------------------------------------------- network

    def counters_of(self, folder):
        for line in read(f'{folder}/dev').decode().splitlines()[2:]:
            name, numbers = line.split(':')
            n = [int(i) for i in numbers.split()]
            yield name.strip(), n[1], n[9], n[0], n[8], n[2], n[10], n[3], n[11], n[13]

    def interface_details(self):
        theirs = []
        for link in self.json('ip-link'):
            flags = sum(FLAGS[f] for f in link['flags'] if f in FLAGS and
                        f not in ('PROMISC', 'ALLMULTI'))
            if 'UP' in link['flags'] and 'NO-CARRIER' not in link['flags']:
                flags |= FLAGS['RUNNING']
            flags |= FLAGS['PROMISC'] if link['promiscuity'] else 0
            flags |= FLAGS['ALLMULTI'] if link.get('allmulti', 0) else 0
            theirs.append((link['ifname'], link['address'], link['mtu'], link['ifindex'],
                           {'loopback': 772, 'ether': 1}[link['link_type']], flags))
        self.same('interfaces', theirs, self.rows(
            f"SELECT interface, mac, mtu, ifindex, type, flags & ~{self.unseen_flags()} FROM "
            'interface_details'))
        # the drivers that count where only they know; modules have types since 5.11
        own = {link['ifname'] for link in self.json('ip-link')
               if link.get('linkinfo', {}).get('info_kind') == 'veth'}
        if read(f'{self.truth}/uname').split()[2].startswith(b'5.10.'):
            own.add('eth0')
        for net, folder in self.folders():
            ours = self.rows(
                'SELECT interface, ipackets, opackets, ibytes, obytes, ierrors, oerrors, idrops, '
                f"odrops, collisions FROM interface_details WHERE net_namespace = '{net}'")
            self.same(f'counters of {net}',
                      [r if r[0] not in own else (r[0], *[None] * 9)
                       for r in self.counters_of(folder)], ours)
        slots = [tuple(line.split(' ', 1)) for line in
                 read(f'{self.truth}/pci').decode().splitlines()]
        self.same('PCI', slots, self.rows('SELECT interface, pci_slot FROM interface_details '
                                          'WHERE pci_slot IS NOT NULL'))

    def unseen_flags(self):
        """Old versions of ip do not say how often "all multicast" was asked for."""
        return 0 if all('allmulti' in link for link in self.json('ip-link')) else FLAGS['ALLMULTI']

    def interface_addresses(self):
        theirs = []
        for link in self.json('ip-addr'):
            for a in link['addr_info']:
                ip = ipaddress.ip_interface(f"{a['local']}/{a['prefixlen']}")
                text = a['local']
                if ip.version == 6 and ip.ip.is_link_local:
                    text += f"%{link['ifname']}"
                peer = a.get('address')
                if ip.version == 4 and 'BROADCAST' not in link['flags']:
                    peer = peer or a['local']
                theirs.append((a.get('label', link['ifname']), text, str(ip.netmask),
                               a.get('broadcast'), peer, 'unknown'))
        self.same('addresses', theirs, self.rows(
            'SELECT interface, address, mask, broadcast, point_to_point, type '
            'FROM interface_addresses'))
        for net, folder in self.folders():
            six = []
            for f in lines(f'{folder}/if_inet6', 0):
                ip = ipaddress.IPv6Address(bytes.fromhex(f[0]))
                six.append((f[5], str(ip) + (f'%{f[5]}' if ip.is_link_local else '')))
            self.same(f'IPv6 of {net}', six, self.rows(
                'SELECT interface, address FROM interface_addresses WHERE '
                f"net_namespace = '{net}' AND address LIKE '%:%'"))

    def arp_cache(self):
        for net, folder in self.folders():
            self.same(f'ARP of {net}',
                      [(f[0], f[3], f[5], '1' if f[2] == '0x6' else '0')
                       for f in lines(f'{folder}/arp')],
                      self.rows('SELECT address, mac, interface, permanent FROM arp_cache WHERE '
                                f"net_namespace = '{net}' AND address NOT LIKE '%:%'"))
        six = [(n['dst'], n.get('lladdr', '00:00:00:00:00:00'), n['dev'],
                '1' if 'PERMANENT' in n['state'] else '0')
               for n in self.json('ip-neigh') if ':' in n['dst'] and 'NOARP' not in n['state']]
        self.same('NDP', six, self.rows('SELECT address, mac, interface, permanent FROM arp_cache '
                                        "WHERE address LIKE '%:%'"))

    def routes(self):
        theirs = []
        for name, zero, bits in (('ip-route4', '0.0.0.0', 32), ('ip-route6', '::', 128)):
            for r in self.json(name):
                to, _, length = r['dst'].partition('/')
                if to == 'default':
                    to, length = zero, 0
                table = r.get('table', 'main')
                metrics = {k: v for m in r.get('metrics', []) for k, v in m.items()}
                for hop in r.get('nexthops', [r]):
                    theirs.append((to, int(length if length != '' else bits),
                                   hop.get('gateway', r.get('gateway', '')), r.get('prefsrc', ''),
                                   hop.get('dev', ''), metrics.get('mtu', 0), r.get('metric', 0),
                                   metrics.get('hoplimit', 0), r.get('type', 'unicast'),
                                   TABLE_IDS[table] if table in TABLE_IDS else int(table)))
        self.same('routes', theirs, self.rows(
            'SELECT destination, netmask, gateway, source, interface, mtu, metric, hopcount, kind, '
            'table_id FROM routes'))
        known = {'unicast': 'gateway', 'local': 'local', 'broadcast': 'broadcast',
                 'anycast': 'anycast'}
        self.same('types', [known.get(t[8], 'other') for t in theirs],
                  [r[0] for r in self.rows('SELECT type FROM routes')])


TABLES = ('process_open_files', 'mounts', 'process_open_sockets', 'listening_ports', 'sockets',
          'interface_details', 'interface_addresses', 'arp_cache', 'routes')


def main(argv):
    if len(argv) < 4 or argv[1] not in TABLES:
        sys.exit(__doc__)
    c = Comparison(argv[2], argv[3:])
    getattr(c, argv[1])()
    if not c.compared:
        c.bad += 1
        print('nothing was compared')
    print(f'{argv[1]}: {c.compared} rows compared, {c.bad} differ')
    return 1 if c.bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
