/* The load of the gateway's benches, in the protocol of examples/gateway/PROTOCOL.md.
 *
 *   load MODE PORT[,PORT] CLIENTS SECONDS [RATE [SIZE [FALLBACK]]]
 *
 * broadcast  all clients are in one room, another one speaks to it: RATE messages a second, 0: as fast as the slowest
 *            member takes them, with up to 64 on their way
 * unicast    clients in pairs send to each other; the next one when the last one is stored (`ok`); each is acked
 * storm      the node dies, or closes all connections: all come back at once, to the port FALLBACK
 * idle       be connected
 *
 * With two ports every other client is connected to the second one.
 *
 * Says a line of JSON when all are connected (and in their room), goes on at a line on its standard input, says its
 * figures, and ends at the next line. Bodies have SIZE bytes (128), and the time at which they were due in them.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "ws.h"

enum { PARALLEL = 256, WINDOW = 64, STAMP = 16, EPOCH = 40 };
static const uint64_t SECOND = 1000000000;

struct client {
    struct conn conn; /* first: a conn is its client */
    uint64_t last;    /* the number of the last message */
    uint32_t sent;
    int ready;
};

static enum { BROADCAST, UNICAST, STORM, IDLING } mode;
static uint16_t ports[2], fallback;
static uint32_t clients, everyone; /* without and with the speaker */
static size_t body_size = 128;
static struct client *all;
static char padding[65536];

static struct histogram latencies;
static uint64_t sent, stored, delivered, gaps, twice, refused, dropped, connecting, ready, finished;
static int running;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void is_ready(struct client *c)
{
    if (c->ready)
        return;
    c->ready = 1;
    connecting--;
    ready++;
}

static void publish(struct client *c, const char *to, uint64_t due)
{
    char text[65536];
    int size = snprintf(text, sizeof text, "{\"t\":\"send\",\"id\":\"%d-%u\",\"to\":\"%s\",\"body\":\"%016" PRIx64 "%.*s\"}",
                        (int)getpid(), ++c->sent, to, due, (int)(body_size - STAMP), padding);
    sent++;
    ws_send(&c->conn, text, (size_t)size);
}

static void write_to_partner(struct client *c)
{
    char to[32];
    snprintf(to, sizeof to, "user:u%u", c->conn.index ^ 1);
    publish(c, to, now());
}

static uint64_t hex(const char *text)
{
    uint64_t value = 0;
    for (int i = 0; i < STAMP; i++)
        value = value << 4 | (uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    return value;
}

static void acknowledge(struct client *c, const char *text, size_t size, uint64_t number)
{
    char ack[128];
    const char *epoch = memmem(text, size, "\"e\":\"", 5);
    const char *end = epoch ? memchr(epoch + 5, '"', EPOCH) : NULL;
    if (end == NULL)
        return;
    int length = snprintf(ack, sizeof ack, "{\"t\":\"ack\",\"e\":\"%.*s\",\"n\":%" PRIu64 "}", (int)(end - epoch - 5),
                          epoch + 5, number);
    ws_send(&c->conn, ack, (size_t)length);
}

/* The number is near the front of a message, the body is its end. */
static void on_message(struct client *c, const char *text, size_t size)
{
    const char *field = memmem(text, size < 128 ? size : 128, "\"n\":", 4);
    if (field == NULL || size < body_size + 2)
        return;
    uint64_t number = strtoull(field + 4, NULL, 10);
    if (c->last && number <= c->last)
        twice++;
    else if (c->last && number != c->last + 1)
        gaps++;
    c->last = number;
    delivered++;
    finished = now();
    note(&latencies, finished - hex(text + size - 2 - body_size));
    if (mode == UNICAST)
        acknowledge(c, text, size, number);
}

void on_open(struct conn *conn)
{
    char hello[64];
    int size = snprintf(hello, sizeof hello, "{\"t\":\"hello\",\"user\":\"u%u\"}", conn->index);
    ws_send(conn, hello, (size_t)size);
}

/* Each frame is an object whose first field, `t`, says what it is. */
void on_text(struct conn *conn, const char *text, size_t size)
{
    struct client *c = (struct client *)conn;
    static const char join[] = "{\"t\":\"join\",\"room\":\"bench\"}";
    switch (size > 7 ? text[6] : 0) {
    case 'm':
        on_message(c, text, size);
        break;
    case 'o':
        stored++;
        if (mode == UNICAST && running)
            write_to_partner(c);
        break;
    case 'n':
        refused++;
        break;
    case 'w':
        if (mode == BROADCAST && conn->index < clients)
            ws_send(conn, join, sizeof join - 1);
        else
            is_ready(c);
        break;
    case 'j':
        is_ready(c);
        break;
    default: /* presence, bye */
        break;
    }
}

void on_closed(struct conn *conn)
{
    struct client *c = (struct client *)conn;
    dropped++;
    if (c->ready)
        ready--;
    else
        connecting--;
    c->ready = 0;
    conn->state = IDLE;
    if (mode == STORM)
        ports[0] = ports[1] = fallback;
}

/* Connect everyone who isn't, some at a time, once so many were lost; returns the seconds that it took. */
static double connect_all(uint64_t losses, double limit)
{
    uint64_t began = now();
    uint32_t next = 0;
    while ((ready < everyone || dropped < losses) && (double)(now() - began) / 1e9 < limit) {
        for (uint32_t tries = 0; connecting < PARALLEL && tries < everyone; tries++, next = (next + 1) % everyone)
            if (all[next].conn.state == IDLE) {
                connecting++;
                ws_connect(&all[next].conn, ports[next % 2]);
            }
        ws_poll(1);
    }
    return (double)(now() - began) / 1e9;
}

static void speak(uint64_t began, double rate)
{
    struct client *speaker = &all[clients];
    uint64_t due = rate > 0 ? (uint64_t)((double)(now() - began) / 1e9 * rate) : delivered / clients + WINDOW;
    while (sent < due)
        publish(speaker, "room:bench", rate > 0 ? began + (uint64_t)((double)sent / rate * 1e9) : now());
}

static void load_for(double seconds, double rate)
{
    uint64_t began = now(), until = began + (uint64_t)(seconds * 1e9), expected;
    running = 1;
    if (mode == UNICAST)
        for (uint32_t i = 0; i < clients; i++)
            write_to_partner(&all[i]);
    while (now() < until) {
        if (mode == BROADCAST)
            speak(began, rate);
        ws_poll(1);
    }
    running = 0;
    expected = mode == UNICAST ? sent : sent * clients;
    /* What is a little late counts; a backlog of minutes isn't waited for. */
    while (delivered < expected && now() - (finished > until ? finished : until) < 3 * SECOND && now() - until < 10 * SECOND)
        ws_poll(10);
    double took = (double)(finished > began ? finished - began : 1) / 1e9;
    printf("{\"sent\": %" PRIu64 ", \"stored\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"missing\": %" PRId64
           ", \"gaps\": %" PRIu64 ", \"twice\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"dropped\": %" PRIu64
           ", \"seconds\": %.6f, \"p50\": %.9f, \"p99\": %.9f, \"most\": %.9f}\n",
           sent, stored, delivered, (int64_t)(expected - delivered), gaps, twice, refused, dropped, took,
           (double)quantile(&latencies, 0.5) / 1e9, (double)quantile(&latencies, 0.99) / 1e9,
           (double)latencies.most / 1e9);
}

static void hold_for(double seconds)
{
    for (uint64_t until = now() + (uint64_t)(seconds * 1e9); now() < until;)
        ws_poll(10);
    printf("{\"dropped\": %" PRIu64 "}\n", dropped);
}

/* Wait until the node is gone, then for everyone to be back. */
static void weather(double limit)
{
    uint64_t began = now();
    while (ready == everyone && (double)(now() - began) / 1e9 < limit)
        ws_poll(1);
    double took = connect_all(everyone, limit);
    printf("{\"back\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"seconds\": %.6f}\n", ready, dropped, took);
}

static void cue(void)
{
    char line[16];
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(0);
}

static int mode_of(const char *name)
{
    static const char *names[] = {"broadcast", "unicast", "storm", "idle"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fprintf(stderr, "load: there is no mode %s\n", name);
    exit(2);
}

int main(int count, char **arguments)
{
    if (count < 5) {
        fprintf(stderr, "usage: load broadcast|unicast|storm|idle PORT[,PORT] CLIENTS SECONDS [RATE [SIZE [FALLBACK]]]\n");
        return 2;
    }
    double seconds = atof(arguments[4]), rate = count > 5 ? atof(arguments[5]) : 0;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    mode = mode_of(arguments[1]);
    const char *second = strchr(arguments[2], ',');
    ports[0] = (uint16_t)atoi(arguments[2]);
    ports[1] = second ? (uint16_t)atoi(second + 1) : ports[0];
    clients = (uint32_t)atoi(arguments[3]);
    everyone = clients + (mode == BROADCAST);
    body_size = count > 6 ? (size_t)atoi(arguments[6]) : body_size;
    fallback = count > 7 ? (uint16_t)atoi(arguments[7]) : ports[0];
    if (clients < 1 || body_size < STAMP || body_size > 60000 || (mode == UNICAST && clients % 2)) {
        fprintf(stderr, "load: needs clients (for unicast an even number), and bodies of 16 to 60000 bytes\n");
        return 2;
    }
    memset(padding, 'x', sizeof padding);
    all = calloc(everyone, sizeof *all);
    if (all == NULL)
        fail("calloc");
    for (uint32_t i = 0; i < everyone; i++)
        all[i].conn.index = i;
    ws_loop();
    double took = connect_all(0, 60);
    printf("{\"connected\": %" PRIu64 ", \"seconds\": %.6f, \"dropped\": %" PRIu64 "}\n", ready, took, dropped);
    dropped = 0;
    cue();
    if (mode == STORM)
        weather(60);
    else if (mode == IDLING)
        hold_for(seconds);
    else
        load_for(seconds, rate);
    cue();
    return 0;
}
