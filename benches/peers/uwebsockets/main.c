/* The same job on uWebSockets, in its best configuration:
 *
 * - its own publish and subscribe ("topics"), which writes what was published in a turn of the loop
 *   to each subscriber at once. What is heard in a turn is kept and published at its end: from the
 *   33rd message on, a subscriber's are written within `publish`, and if that is called in a
 *   message handler, where the speaker is corked and nobody else can be, by one system call each;
 * - --echo answers in its message handler, where the socket is corked;
 * - no compression, no bound on what a slow client may owe (0 is none), no idle timeout.
 *
 * The library is built by others: the package `socketify` on PyPI holds uWebSockets with a C
 * interface in a shared library (libsocketify_linux_amd64.so), on libuv. Its header is not in the
 * package in full; what is used of it stands below.
 *
 * uwebsockets --port N [--echo]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct uws_app_s uws_app_t;
typedef struct uws_req_s uws_req_t;
typedef struct uws_res_s uws_res_t;
typedef struct uws_websocket_s uws_websocket_t;
typedef struct uws_socket_context_s uws_socket_context_t;
struct us_listen_socket_t;

/* ---- what is used of the library's header ---- */

typedef enum { TEXT = 1, BINARY = 2 } uws_opcode_t;
typedef enum { BACKPRESSURE, SUCCESS, DROPPED } uws_sendstatus_t;
typedef enum { DISABLED = 0 } uws_compress_options_t;

struct us_socket_context_options_t {
    const char *key_file_name, *cert_file_name, *passphrase;
    const char *dh_params_file_name, *ca_file_name, *ssl_ciphers;
    int ssl_prefer_low_memory_usage;
};

typedef struct {
    int port;
    const char *host;
    int options;
} uws_app_listen_config_t;

typedef void (*uws_websocket_handler)(uws_websocket_t *, void *);
typedef void (*uws_message_handler)(uws_websocket_t *, const char *, size_t, uws_opcode_t,
                                    void *);
typedef void (*uws_control_handler)(uws_websocket_t *, const char *, size_t, void *);
typedef void (*uws_close_handler)(uws_websocket_t *, int, const char *, size_t, void *);
typedef void (*uws_upgrade_handler)(uws_res_t *, uws_req_t *, uws_socket_context_t *, void *);
typedef void (*uws_subscription_handler)(uws_websocket_t *, const char *, size_t, int, int,
                                         void *);
typedef void (*uws_listen_handler)(struct us_listen_socket_t *, uws_app_listen_config_t,
                                   void *);

typedef struct {
    uws_compress_options_t compression;
    unsigned int maxPayloadLength;
    unsigned short idleTimeout;
    unsigned int maxBackpressure;
    bool closeOnBackpressureLimit, resetIdleTimeoutOnSend, sendPingsAutomatically;
    unsigned short maxLifetime;
    uws_upgrade_handler upgrade;
    uws_websocket_handler open;
    uws_message_handler message;
    uws_websocket_handler drain;
    uws_control_handler ping, pong;
    uws_close_handler close;
    uws_subscription_handler subscription;
} uws_socket_behavior_t;

uws_app_t *uws_create_app(int ssl, struct us_socket_context_options_t options);
void uws_app_listen_with_config(int ssl, uws_app_t *, uws_app_listen_config_t,
                                uws_listen_handler, void *);
int us_socket_local_port(int ssl, struct us_listen_socket_t *);
void uws_ws(int ssl, uws_app_t *, const char *pattern, uws_socket_behavior_t, void *);
size_t uws_req_get_header(uws_req_t *, const char *lower_case_name, size_t, const char **value);
void uws_res_upgrade(int ssl, uws_res_t *, void *data, const char *key, size_t,
                     const char *protocol, size_t, const char *extensions, size_t,
                     uws_socket_context_t *);
bool uws_ws_subscribe(int ssl, uws_websocket_t *, const char *topic, size_t);
bool uws_publish(int ssl, uws_app_t *, const char *topic, size_t, const char *message, size_t,
                 uws_opcode_t, bool compress);
uws_sendstatus_t uws_ws_send(int ssl, uws_websocket_t *, const char *message, size_t, uws_opcode_t);

/* ---- and of libuv's ---- */

typedef struct uv_loop_s uv_loop_t;
typedef struct uv_check_s uv_check_t;
enum { UV_CHECK = 2, UV_RUN_DEFAULT = 0 };

uv_loop_t *uv_default_loop(void);
size_t uv_handle_size(int type);
int uv_check_init(uv_loop_t *, uv_check_t *);
int uv_check_start(uv_check_t *, void (*)(uv_check_t *));
int uv_run(uv_loop_t *, int mode);
struct us_loop_t *uws_get_loop_with_native(void *native);

/* ---- the server ---- */

static const char TOPIC[] = "all";
static uws_app_t *app;
static bool echo;
/* What was heard in this turn: a header and the bytes, one after the other. */
static struct {
    char *bytes;
    size_t length, capacity;
} heard;
struct heard {
    size_t length;
    uws_opcode_t opcode;
};

static size_t header(uws_req_t *request, const char *name, const char **value)
{
    return uws_req_get_header(request, name, strlen(name), value);
}

static void on_upgrade(uws_res_t *response, uws_req_t *request, uws_socket_context_t *context,
                       void *data)
{
    const char *key, *protocol, *extensions;
    size_t key_length = header(request, "sec-websocket-key", &key);
    size_t protocol_length = header(request, "sec-websocket-protocol", &protocol);
    size_t extensions_length = header(request, "sec-websocket-extensions", &extensions);
    uws_res_upgrade(0, response, data, key, key_length, protocol, protocol_length, extensions,
                    extensions_length, context);
}

static void on_open(uws_websocket_t *socket, void *data)
{
    (void)data;
    if (!echo)
        uws_ws_subscribe(0, socket, TOPIC, strlen(TOPIC));
}

static void on_message(uws_websocket_t *socket, const char *message, size_t length,
                       uws_opcode_t opcode, void *data)
{
    (void)data;
    if (echo) {
        uws_ws_send(0, socket, message, length, opcode);
        return;
    }
    struct heard one = {length, opcode};
    size_t needed = heard.length + sizeof one + length;
    if (needed > heard.capacity) {
        heard.capacity = 2 * needed;
        heard.bytes = realloc(heard.bytes, heard.capacity);
        if (!heard.bytes)
            abort();
    }
    memcpy(heard.bytes + heard.length, &one, sizeof one);
    memcpy(heard.bytes + heard.length + sizeof one, message, length);
    heard.length = needed;
}

/* libuv calls the check that was started last first: the library's, which writes, comes later. */
static void on_turn_end(uv_check_t *check)
{
    (void)check;
    for (size_t at = 0; at < heard.length;) {
        struct heard one;
        memcpy(&one, heard.bytes + at, sizeof one);
        at += sizeof one;
        uws_publish(0, app, TOPIC, strlen(TOPIC), heard.bytes + at, one.length, one.opcode, false);
        at += one.length;
    }
    heard.length = 0;
}

static void on_nothing(uws_websocket_t *socket, void *data)
{
    (void)socket, (void)data;
}

static void on_control(uws_websocket_t *socket, const char *message, size_t length, void *data)
{
    (void)socket, (void)message, (void)length, (void)data;
}

static void on_close(uws_websocket_t *socket, int code, const char *message, size_t length,
                     void *data)
{
    (void)socket, (void)code, (void)message, (void)length, (void)data;
}

static void on_subscription(uws_websocket_t *socket, const char *topic, size_t length, int now,
                            int before, void *data)
{
    (void)socket, (void)topic, (void)length, (void)now, (void)before, (void)data;
}

static void on_listen(struct us_listen_socket_t *listener, uws_app_listen_config_t config,
                      void *data)
{
    (void)config, (void)data;
    if (!listener) {
        fputs("uwebsockets: cannot listen\n", stderr);
        exit(1);
    }
    printf("listening 127.0.0.1:%d\n", us_socket_local_port(0, listener));
    fflush(stdout);
}

int main(int count, char **arguments)
{
    int port = -1;
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--port") && i + 1 < count)
            port = atoi(arguments[++i]);
        else if (!strcmp(arguments[i], "--echo"))
            echo = true;
    }
    if (port < 0) {
        fputs("usage: uwebsockets --port N [--echo]\n", stderr);
        return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    uws_get_loop_with_native(loop);
    app = uws_create_app(0, (struct us_socket_context_options_t){0});
    uws_socket_behavior_t behavior = {
        .compression = DISABLED,
        .maxPayloadLength = 16 << 20,
        .upgrade = on_upgrade,
        .open = on_open,
        .message = on_message,
        .drain = on_nothing,
        .ping = on_control,
        .pong = on_control,
        .close = on_close,
        .subscription = on_subscription,
    };
    uws_ws(0, app, "/*", behavior, NULL);
    uws_app_listen_config_t config = {.port = port, .host = "127.0.0.1"};
    uws_app_listen_with_config(0, app, config, on_listen, NULL);
    uv_check_t *check = malloc(uv_handle_size(UV_CHECK));
    if (!check || uv_check_init(loop, check) || uv_check_start(check, on_turn_end))
        return 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
