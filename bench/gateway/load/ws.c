#define _GNU_SOURCE
#include "ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, EVENTS = 1024, BUFFER = 1 << 18 };

static const char REQUEST[] = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static int loop;
static char buffer[BUFFER];

_Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

int ws_loop(void)
{
    loop = epoll_create1(0);
    if (loop < 0)
        fail("epoll_create1");
    return loop;
}

static void watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(loop, op, c->fd, &event) < 0)
        fail("epoll_ctl");
}

static void append(struct bytes *b, const char *data, size_t size)
{
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->data = realloc(b->data, b->room);
        if (b->data == NULL)
            fail("realloc");
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void release(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

void ws_close(struct conn *c)
{
    if (c->state == CLOSED || c->state == IDLE)
        return;
    close(c->fd);
    release(&c->rest);
    release(&c->due);
    c->state = CLOSED;
}

static void lost(struct conn *c)
{
    ws_close(c);
    on_closed(c);
}

void ws_connect(struct conn *c, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->state = CONNECTING;
    c->close_code = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        lost(c);
}

static void put(struct conn *c, const char *data, size_t size)
{
    ssize_t sent = c->due.size ? 0 : send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return; /* reading will tell */
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == size)
        return;
    if (c->due.size == 0)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    append(&c->due, data + sent, size - (size_t)sent);
}

/* Masked with zeros: the server has the same work with it, and we have none. */
static void frame(struct conn *c, int opcode, const char *payload, size_t size)
{
    char out[8 + 65536];
    size_t head = size < 126 ? 2 : 4;
    if (size > 65000 || c->state != OPEN)
        return;
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | (size < 126 ? size : 126));
    if (head == 4) {
        out[2] = (char)(size >> 8);
        out[3] = (char)size;
    }
    memset(out + head, 0, 4);
    memcpy(out + head + 4, payload, size);
    put(c, out, head + 4 + size);
}

void ws_send(struct conn *c, const char *text, size_t size)
{
    frame(c, TEXT, text, size);
}

static void on_frame(struct conn *c, int opcode, const char *payload, size_t size)
{
    if (opcode == TEXT)
        on_text(c, payload, size);
    else if (opcode == PING)
        frame(c, PONG, payload, size);
    else if (opcode == CLOSE)
        c->close_code = size < 2 ? 1005 : (uint8_t)payload[0] << 8 | (uint8_t)payload[1];
}

/* Handle the whole frames in these bytes; returns how many bytes they were. */
static size_t frames(struct conn *c, const char *data, size_t size)
{
    size_t at = 0;
    while (c->state == OPEN && size - at >= 2) {
        const uint8_t *p = (const uint8_t *)data + at;
        size_t head = 2, length = p[1] & 0x7f;
        if (length == 126) {
            if (size - at < 4)
                break;
            length = (size_t)p[2] << 8 | p[3];
            head = 4;
        } else if (length == 127) {
            fprintf(stderr, "a frame over 64 KiB: this client expects none\n");
            exit(1);
        }
        if (size - at < head + length)
            break;
        on_frame(c, p[0] & 0x0f, data + at + head, length);
        at += head + length;
    }
    return at;
}

static size_t answer(struct conn *c, const char *data, size_t size)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        lost(c);
        return size;
    }
    c->state = OPEN;
    on_open(c);
    return (size_t)(end - data) + 4;
}

static void readable(struct conn *c)
{
    size_t had = c->rest.size, used = 0;
    if (had > BUFFER / 2)
        fail("a frame is too long");
    if (had)
        memcpy(buffer, c->rest.data, had);
    ssize_t got = read(c->fd, buffer + had, BUFFER - had);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        lost(c);
        return;
    }
    size_t size = had + (size_t)got;
    if (c->state == SHAKING)
        used = answer(c, buffer, size);
    if (c->state == OPEN)
        used += frames(c, buffer + used, size - used);
    if (c->state == OPEN && c->close_code)
        lost(c);
    if (c->state != SHAKING && c->state != OPEN)
        return;
    c->rest.size = 0;
    if (used < size)
        append(&c->rest, buffer + used, size - used);
    else if (c->rest.room)
        release(&c->rest);
}

static void writable(struct conn *c)
{
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            lost(c);
            return;
        }
        c->state = SHAKING;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        put(c, REQUEST, sizeof REQUEST - 1);
        return;
    }
    ssize_t sent = send(c->fd, c->due.data, c->due.size, MSG_NOSIGNAL);
    if (sent <= 0)
        return;
    memmove(c->due.data, c->due.data + sent, c->due.size - (size_t)sent);
    c->due.size -= (size_t)sent;
    if (c->due.size == 0)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

void ws_poll(int milliseconds)
{
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(loop, events, EVENTS, milliseconds);
    for (int i = 0; i < count; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT && c->state != CLOSED)
            writable(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && c->state != CLOSED && c->state != CONNECTING)
            readable(c);
    }
}
