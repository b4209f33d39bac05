/*
 * Multicast groups that a socket has joined.  No call lists them, but each socket can be asked
 * about one group at one interface, and /proc/net tells all that anybody has joined.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define LIST_MAX_BYTES (16u << 20)
/* More sources than the kernel lets a socket have without being told otherwise (10 and 64). */
#define SOURCES_MAX 4096

/* One group at one interface. */
struct group {
	unsigned int ifindex;
	union inet_address address;
};

static size_t filter_bytes(size_t sources)
{
	return sizeof(struct group_filter) + sources * sizeof(struct sockaddr_storage);
}

static int level_of(const struct group *group)
{
	return group->address.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
}

static const void *bytes_of(const struct sockaddr_storage *address, size_t *len)
{
	*len = address->ss_family == AF_INET ? 4 : 16;
	return address->ss_family == AF_INET
		   ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
		   : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
}

static int add_membership(struct fds_take *take, SnapSocketEntry *more,
			  const struct group_filter *filter, const char *ifname)
{
	SnapMembership *m = fds_take_alloc(take, sizeof(*m)), **list;
	const void *bytes;
	size_t len;

	list = fds_take_alloc(take, (more->n_memberships + 1) * sizeof(*list));
	if (!m || !list)
		return R_FAILED;
	if (more->n_memberships)
		memcpy(list, more->memberships, more->n_memberships * sizeof(*list));
	snap_membership__init(m);
	m->ifname = fds_take_strdup(take, ifname);
	m->exclude = filter->gf_fmode == MCAST_EXCLUDE;
	bytes = bytes_of(&filter->gf_group, &len);
	if (!m->ifname || sk_bytes(take, &m->group, bytes, len))
		return R_FAILED;
	m->sources = fds_take_alloc(take, (filter->gf_numsrc + 1) * sizeof(*m->sources));
	if (!m->sources)
		return R_FAILED;
	for (; m->n_sources < filter->gf_numsrc; m->n_sources++) {
		bytes = bytes_of(&filter->gf_slist[m->n_sources], &len);
		if (sk_bytes(take, &m->sources[m->n_sources], bytes, len))
			return R_FAILED;
	}
	list[more->n_memberships++] = m;
	more->memberships = list;
	return R_OK;
}

/* Asks about one group; nothing happens if the socket has not joined it. */
static int ask(struct fds_take *take, const struct taken_file *f, const struct group *group,
	       struct group_filter *filter, SnapSocketEntry *more)
{
	socklen_t len = (socklen_t)filter_bytes(SOURCES_MAX);
	char ifname[IF_NAMESIZE];

	memset(filter, 0, sizeof(*filter));
	filter->gf_interface = group->ifindex;
	memcpy(&filter->gf_group, &group->address, sizeof(group->address));
	filter->gf_numsrc = SOURCES_MAX;
	if (getsockopt(f->local, level_of(group), MCAST_MSFILTER, filter, &len))
		return R_OK;
	if (filter->gf_numsrc > SOURCES_MAX || !if_indextoname(group->ifindex, ifname)) {
		warn("%s: its multicast membership at interface %u cannot be read",
		     taken_file_name(f), group->ifindex);
		return R_UNSUPPORTED;
	}
	return add_membership(take, more, filter, ifname);
}

/* A line of /proc/net/igmp: an interface, or one of its groups. */
static bool parse_v4(const char *line, struct group *group)
{
	unsigned int address;

	if (*line != '\t') {
		group->ifindex = (unsigned int)strtoul(line, NULL, 10);
		return false;
	}
	if (sscanf(line, " %8X", &address) != 1)
		return false;
	group->address.v4.sin_family = AF_INET;
	group->address.v4.sin_addr.s_addr = address;
	return group->ifindex != 0;
}

static bool parse_v6(const char *line, struct group *group)
{
	char digits[33];

	if (sscanf(line, "%u %*s %32[0-9a-f]", &group->ifindex, digits) != 2 ||
	    strlen(digits) != 32)
		return false;
	group->address.v6.sin6_family = AF_INET6;
	for (int i = 0; i < 16; i++) {
		unsigned int byte;

		sscanf(digits + 2 * i, "%2x", &byte);
		group->address.v6.sin6_addr.s6_addr[i] = (uint8_t)byte;
	}
	return true;
}

static int ask_all(struct fds_take *take, const struct taken_file *f, const char *path,
		   bool (*parse)(const char *line, struct group *group), SnapSocketEntry *more)
{
	struct group group = { 0 };
	struct group_filter *filter = NULL;
	char *text;
	size_t len;
	int r = R_OK;

	if (io_read_file(AT_FDCWD, path, LIST_MAX_BYTES, &text, &len) != R_OK)
		return R_OK; /* a kernel without it */
	filter = malloc(filter_bytes(SOURCES_MAX));
	if (!filter) {
		warn("no memory for multicast sources; free some and try again");
		r = R_FAILED;
	}
	for (const char *line = text; r == R_OK && *line;) {
		if (parse(line, &group))
			r = ask(take, f, &group, filter, more);
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	free(filter);
	free(text);
	return r;
}

int multicast_dump(struct fds_take *take, const struct taken_file *f, SnapSocketEntry *more)
{
	int r = ask_all(take, f, "/proc/net/igmp", parse_v4, more);

	return r ? r : ask_all(take, f, "/proc/net/igmp6", parse_v6, more);
}

/* ---- restore ---- */

int multicast_check(const SnapSocketEntry *more)
{
	for (size_t i = 0; more && i < more->n_memberships; i++) {
		const SnapMembership *m = more->memberships[i];

		if (m->group.len != 4 && m->group.len != 16) {
			warn("file %u: a multicast group makes no sense; run 'snap verify'",
			     more->id);
			return R_DAMAGED;
		}
		if (!if_nametoindex(m->ifname)) {
			warn("file %u: network interface %s, at which it had joined a multicast "
			     "group, is not there",
			     more->id, m->ifname);
			return R_FAILED;
		}
	}
	return R_OK;
}

static void set_address(struct sockaddr_storage *to, const ProtobufCBinaryData *bytes)
{
	union inet_address a = { 0 };

	if (bytes->len == 4) {
		a.v4.sin_family = AF_INET;
		memcpy(&a.v4.sin_addr, bytes->data, 4);
	} else {
		a.v6.sin6_family = AF_INET6;
		memcpy(&a.v6.sin6_addr, bytes->data, bytes->len < 16 ? bytes->len : 16);
	}
	memcpy(to, &a, sizeof(a));
}

/* With the interface's address beside its number, so that the program can leave by either. */
static int join_v4(int fd, const SnapMembership *m, unsigned int ifindex)
{
	struct ip_mreqn request = { .imr_ifindex = (int)ifindex };
	struct ifreq interface = { 0 };

	memcpy(&request.imr_multiaddr, m->group.data, 4);
	snprintf(interface.ifr_name, sizeof(interface.ifr_name), "%s", m->ifname);
	if (!ioctl(fd, SIOCGIFADDR, &interface))
		request.imr_address = ((struct sockaddr_in *)&interface.ifr_addr)->sin_addr;
	return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request));
}

static int join_v6(int fd, const SnapMembership *m, unsigned int ifindex)
{
	struct ipv6_mreq request = { .ipv6mr_interface = ifindex };

	memcpy(&request.ipv6mr_multiaddr, m->group.data, 16);
	return setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request));
}

/* A new membership takes in every source. */
static int set_filter(int fd, const SnapMembership *m, unsigned int ifindex)
{
	struct group_filter *filter;
	int r;

	if (m->exclude && !m->n_sources)
		return 0;
	filter = calloc(1, filter_bytes(m->n_sources));
	if (!filter)
		return -1;
	filter->gf_interface = ifindex;
	filter->gf_fmode = m->exclude ? MCAST_EXCLUDE : MCAST_INCLUDE;
	filter->gf_numsrc = (uint32_t)m->n_sources;
	set_address(&filter->gf_group, &m->group);
	for (size_t i = 0; i < m->n_sources; i++)
		set_address(&filter->gf_slist[i], &m->sources[i]);
	r = setsockopt(fd, m->group.len == 4 ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER, filter,
		       (socklen_t)GROUP_FILTER_SIZE(m->n_sources));
	free(filter);
	return r;
}

int multicast_restore(int fd, const SnapSocketEntry *more)
{
	for (size_t i = 0; more && i < more->n_memberships; i++) {
		const SnapMembership *m = more->memberships[i];
		unsigned int ifindex = if_nametoindex(m->ifname);

		if ((m->group.len == 4 ? join_v4(fd, m, ifindex) : join_v6(fd, m, ifindex)) ||
		    set_filter(fd, m, ifindex)) {
			warn_errno("file %u: cannot join a multicast group at %s again", more->id,
				   m->ifname);
			return R_FAILED;
		}
	}
	return R_OK;
}
