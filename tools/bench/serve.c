/*
 * The services on the kernel's own TCP: the baseline that everything is divided by.
 * Two forms, as good as the kernel gets in each: one blocking connection at a time (no poll between two reads),
 * or many connections under one edge of epoll.
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SERVICES 5

static const enum service PORTS[SERVICES] = { SERVICE_SINK, SERVICE_SOURCE, SERVICE_ECHO, SERVICE_REQUEST, SERVICE_HTTP };

static const char HTTP_ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\n"
				  "Hello from the other end.\n";

struct session {
	int fd;
	enum service service;
	int listening;
	uint64_t bytes;
};

static char *buffer;
static size_t buffer_size;

static void answer_count(int fd, uint64_t count)
{
	unsigned char answer[8];

	for (int i = 0; i < 8; i++)
		answer[i] = (unsigned char)(count >> (8 * i));
	write_fully(fd, answer, sizeof answer);
}

/* One step of a session. Returns 1 while it lives, 0 when there was nothing to do, -1 at its end. */
static int step(struct session *session)
{
	ssize_t moved;

	if (session->service == SERVICE_SOURCE)
		moved = send(session->fd, buffer, buffer_size, 0);
	else
		moved = recv(session->fd, buffer, session->service == SERVICE_SINK ? buffer_size : 4096, 0);
	if (moved < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (moved == 0) {
		if (session->service == SERVICE_SINK)
			answer_count(session->fd, session->bytes);
		return -1;
	}
	if (session->service == SERVICE_ECHO && write_fully(session->fd, buffer, (size_t)moved) < 0)
		return -1;
	if (session->service == SERVICE_REQUEST)
		for (uint64_t due = (session->bytes + (uint64_t)moved) / REQUEST_SIZE - session->bytes / REQUEST_SIZE; due; due--)
			if (write_fully(session->fd, buffer, REPLY_SIZE) < 0)
				return -1;
	if (session->service == SERVICE_HTTP && moved >= 4 && memcmp(buffer + moved - 4, "\r\n\r\n", 4) == 0 &&
	    write_fully(session->fd, HTTP_ANSWER, sizeof HTTP_ANSWER - 1) < 0)
		return -1;
	session->bytes += (uint64_t)moved;
	return 1;
}

static int admit(const struct session *listener, struct session *session, int flags)
{
	int on = 1;

	memset(session, 0, sizeof *session);
	session->service = listener->service;
	session->fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | flags);
	if (session->fd < 0)
		return -1;
	setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return 0;
}

static void serve_one_by_one(struct session *listeners)
{
	struct pollfd waiting[SERVICES];

	for (int i = 0; i < SERVICES; i++)
		waiting[i] = (struct pollfd){ .fd = listeners[i].fd, .events = POLLIN };
	for (;;) {
		if (poll(waiting, SERVICES, -1) < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; i < SERVICES; i++) {
			struct session session;

			if (!(waiting[i].revents & POLLIN) || admit(&listeners[i], &session, 0) < 0)
				continue;
			while (step(&session) >= 0)
				;
			close(session.fd);
		}
	}
}

static void serve_many(struct session *listeners)
{
	int poller = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ready[256];

	for (int i = 0; i < SERVICES; i++) {
		struct epoll_event want = { .events = EPOLLIN, .data.ptr = &listeners[i] };

		epoll_ctl(poller, EPOLL_CTL_ADD, listeners[i].fd, &want);
	}
	for (;;) {
		int awake = epoll_wait(poller, ready, 256, -1);

		for (int i = 0; i < awake; i++) {
			struct session *session = ready[i].data.ptr;

			if (session->listening) {
				struct session *fresh = malloc(sizeof *fresh);
				struct epoll_event want = { .data.ptr = fresh };

				if (fresh == NULL || admit(session, fresh, SOCK_NONBLOCK) < 0) {
					free(fresh);
					continue;
				}
				want.events = fresh->service == SERVICE_SOURCE ? EPOLLOUT : EPOLLIN;
				epoll_ctl(poller, EPOLL_CTL_ADD, fresh->fd, &want);
			} else if (step(session) < 0) {
				close(session->fd);
				free(session);
			}
		}
	}
}

int run_serve(const struct options *options)
{
	struct session listeners[SERVICES];

	buffer_size = options->buffer;
	buffer = malloc(buffer_size);
	if (buffer == NULL)
		die("memory");
	memset(buffer, 'u', buffer_size);
	for (int i = 0; i < SERVICES; i++)
		listeners[i] = (struct session){
			.fd = open_listener(options, options->port + (unsigned)PORTS[i]),
			.service = PORTS[i],
			.listening = 1,
		};
	printf("ready\n");
	fflush(stdout);
	if (options->many)
		serve_many(listeners);
	else
		serve_one_by_one(listeners);
	return 0;
}
