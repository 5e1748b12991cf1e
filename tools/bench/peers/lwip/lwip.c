/*
 * lwIP (Debian's liblwip, its own settings) on a TUN device, its raw interface, one thread:
 *   peer-lwip DEVICE ADDRESS BASE-PORT MTU
 * Only calls of the published library; none of its code is here.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lwip/ip4.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>

#define BATCH 64
#define BUFFER (1 << 20)

enum { SINK = 1, SOURCE = 2, ECHO = 3, REQUEST = 4, HTTP = 80 };

struct session {
	int service;
	uint64_t bytes;
};

static const char PAGE[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\n"
			   "Hello from the other end.\n";
static char application[BUFFER];
static int device;

static err_t transmit(struct netif *netif, struct pbuf *p, const ip4_addr_t *next)
{
	char flat[2048];

	(void)netif;
	(void)next;
	pbuf_copy_partial(p, flat, p->tot_len, 0);
	return write(device, p->next == NULL ? p->payload : flat, p->tot_len) < 0 ? ERR_IF : ERR_OK;
}

static err_t begin(struct netif *netif)
{
	netif->name[0] = 'b';
	netif->name[1] = '0';
	netif->output = transmit;
	netif->flags |= NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

static void fill(struct tcp_pcb *pcb)
{
	while (tcp_sndbuf(pcb) > 0 && tcp_sndqueuelen(pcb) < TCP_SND_QUEUELEN - 8) {
		u16_t size = tcp_sndbuf(pcb) < 16 * 1460 ? (u16_t)tcp_sndbuf(pcb) : 16 * 1460;

		if (tcp_write(pcb, application, size, 0) != ERR_OK)
			break;
	}
	tcp_output(pcb);
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
	(void)argument;
	(void)length;
	fill(pcb);
	return ERR_OK;
}

static void on_error(void *argument, err_t error)
{
	(void)error;
	free(argument);
}

static void answer(struct session *session, struct tcp_pcb *pcb, u16_t length)
{
	uint64_t before = session->bytes;

	session->bytes += length;
	switch (session->service) {
	case ECHO:
		tcp_write(pcb, application, length, TCP_WRITE_FLAG_COPY);
		break;
	case REQUEST:
		for (uint64_t due = session->bytes / 64 - before / 64; due > 0; due--)
			tcp_write(pcb, application, 128, TCP_WRITE_FLAG_COPY);
		break;
	case HTTP:
		if (length >= 4 && memcmp(application + length - 4, "\r\n\r\n", 4) == 0)
			tcp_write(pcb, PAGE, sizeof PAGE - 1, 0);
		break;
	default:
		return;
	}
	tcp_output(pcb);
}

static err_t on_data(void *argument, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
	struct session *session = argument;

	(void)error;
	if (p == NULL) {
		if (session->service == SINK)
			tcp_write(pcb, &session->bytes, sizeof session->bytes, TCP_WRITE_FLAG_COPY);
		tcp_arg(pcb, NULL);
		tcp_recv(pcb, NULL);
		tcp_sent(pcb, NULL);
		tcp_err(pcb, NULL);
		free(session);
		if (tcp_close(pcb) != ERR_OK) {
			tcp_abort(pcb);
			return ERR_ABRT;
		}
		return ERR_OK;
	}
	pbuf_copy_partial(p, application, p->tot_len, 0);
	tcp_recved(pcb, p->tot_len);
	answer(session, pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
	struct session *session = calloc(1, sizeof *session);

	if (error != ERR_OK || pcb == NULL || session == NULL)
		return ERR_VAL;
	session->service = (int)(intptr_t)argument;
	tcp_nagle_disable(pcb);
	tcp_arg(pcb, session);
	tcp_recv(pcb, on_data);
	tcp_err(pcb, on_error);
	if (session->service == SOURCE) {
		tcp_sent(pcb, on_sent);
		fill(pcb);
	}
	return ERR_OK;
}

static void serve(u16_t port, int service)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_V4);

	if (pcb == NULL || tcp_bind(pcb, IP4_ADDR_ANY, port) != ERR_OK)
		exit(1);
	pcb = tcp_listen_with_backlog(pcb, 255);
	tcp_arg(pcb, (void *)(intptr_t)service);
	tcp_accept(pcb, on_accept);
}

static void open_tun(const char *name)
{
	struct ifreq request;

	memset(&request, 0, sizeof request);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	if (device < 0 || ioctl(device, TUNSETIFF, &request) < 0) {
		perror("tun");
		exit(1);
	}
}

static void receive(struct netif *netif)
{
	static char packet[65536];

	LOCK_TCPIP_CORE();
	for (int i = 0; i < BATCH; i++) {
		ssize_t length = read(device, packet, sizeof packet);
		struct pbuf *p;

		if (length <= 0)
			break;
		p = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
		if (p == NULL)
			continue;
		pbuf_take(p, packet, (u16_t)length);
		if (ip4_input(p, netif) != ERR_OK)
			pbuf_free(p);
	}
	UNLOCK_TCPIP_CORE();
}

int main(int argc, char **argv)
{
	static const int services[] = { SINK, SOURCE, ECHO, REQUEST, HTTP };
	struct netif netif;
	struct pollfd waiting;
	ip4_addr_t address, mask, gateway;

	if (argc < 5)
		return 2;
	open_tun(argv[1]);
	ip4addr_aton(argv[2], &address);
	ip4addr_aton("255.255.0.0", &mask);
	ip4addr_aton("10.9.0.1", &gateway);
	tcpip_init(NULL, NULL);
	memset(&netif, 0, sizeof netif);
	LOCK_TCPIP_CORE();
	netif_add(&netif, &address, &mask, &gateway, NULL, begin, ip4_input);
	netif.mtu = (u16_t)atoi(argv[4]);
	netif_set_default(&netif);
	netif_set_up(&netif);
	netif_set_link_up(&netif);
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		serve((u16_t)(atoi(argv[3]) + services[i]), services[i]);
	UNLOCK_TCPIP_CORE();
	memset(application, 'u', sizeof application);
	printf("ready\n");
	fflush(stdout);
	waiting = (struct pollfd){ .fd = device, .events = POLLIN };
	for (;;)
		if (poll(&waiting, 1, -1) > 0)
			receive(&netif);
}
