/* A WebSocket client on epoll: connections, frames, and what is left of both when the socket blocks. */
#ifndef WS_H
#define WS_H

#include <stddef.h>
#include <stdint.h>

enum state { IDLE, CONNECTING, SHAKING, OPEN, CLOSED };

struct bytes {
    char *data;
    size_t size, room;
};

struct conn {
    int fd;
    enum state state;
    struct bytes rest; /* read, and not a whole frame yet */
    struct bytes due;  /* written, and not taken by the socket yet */
    uint32_t index;
    int close_code;
};

/* What the protocol above makes of it. */
void on_open(struct conn *c);
void on_text(struct conn *c, const char *text, size_t size);
void on_closed(struct conn *c);

int ws_loop(void);                                          /* make the epoll instance */
void ws_connect(struct conn *c, uint16_t port);             /* begin to connect to 127.0.0.1 */
void ws_send(struct conn *c, const char *text, size_t size); /* send a text frame */
void ws_close(struct conn *c);
void ws_poll(int milliseconds); /* handle what happens next, waiting that long at most */

_Noreturn void fail(const char *what);

#endif
