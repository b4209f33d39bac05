/* The ring of a packet socket, mapped. */
// names: 0x[0-9a-f]*-0x[0-9a-f]* .*ring of a packet socket
#include "target.h"

#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/socket.h>

int main(void)
{
	struct tpacket_req ring = {
		.tp_block_size = 8192, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 8
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct tpacket_hdr *head;

	NEED(fd >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)));
	head = mmap(NULL, 2 * 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(head != MAP_FAILED);

	target_ready();

	CHECK(head->tp_status == TP_STATUS_KERNEL && !munmap(head, 2 * 8192));
	target_pass();
}
