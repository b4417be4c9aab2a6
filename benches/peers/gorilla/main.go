// The same job on gorilla/websocket: the code of a widely read tutorial (hub, readPump, writePump),
// as many chat servers have it. Its configuration is the tutorial's; what our scenarios force is
// marked "changed:", and nothing else is changed.
//
// gorilla --port N [--echo]
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// upgrader configures the WebSocket connection parameters
var upgrader = websocket.Upgrader{
	// ReadBufferSize specifies the buffer size for reading messages
	ReadBufferSize: 1024,
	// WriteBufferSize specifies the buffer size for writing messages
	WriteBufferSize: 1024,
	// changed: the load generator is no browser and comes from no site.
	CheckOrigin: func(r *http.Request) bool { return true },
}

// changed: text stays text, and binary binary, so a message has its kind with it.
type message struct {
	kind int
	data []byte
}

// Client represents a single WebSocket connection
type Client struct {
	hub  *Hub
	conn *websocket.Conn
	send chan message
}

// Hub maintains the set of active clients and broadcasts messages
type Hub struct {
	clients    map[*Client]bool
	broadcast  chan message
	register   chan *Client
	unregister chan *Client
}

// NewHub creates a new Hub instance
func NewHub() *Hub {
	return &Hub{
		clients:    make(map[*Client]bool),
		broadcast:  make(chan message),
		register:   make(chan *Client),
		unregister: make(chan *Client),
	}
}

// Run starts the hub's main loop
func (h *Hub) Run() {
	for {
		select {
		case client := <-h.register:
			// Add new client to the map
			h.clients[client] = true
			// changed: no line in the log for each who comes and goes.

		case client := <-h.unregister:
			// Remove client and close their send channel
			if _, ok := h.clients[client]; ok {
				delete(h.clients, client)
				close(client.send)
			}

		case message := <-h.broadcast:
			// Send message to all connected clients
			for client := range h.clients {
				select {
				case client.send <- message:
				default:
					// Client buffer full, remove them
					close(client.send)
					delete(h.clients, client)
				}
			}
		}
	}
}

const (
	// Time allowed to write a message to the peer
	writeWait = 10 * time.Second
	// Time allowed to read the next pong message from the peer
	pongWait = 60 * time.Second
	// Send pings to peer with this period (must be less than pongWait)
	pingPeriod = (pongWait * 9) / 10
	// Maximum message size allowed from peer
	// changed: 512 in the tutorial.
	maxMessageSize = 16 << 20
)

// readPump pumps messages from the WebSocket connection to the hub
func (c *Client) readPump() {
	defer func() {
		c.hub.unregister <- c
		c.conn.Close()
	}()

	c.conn.SetReadLimit(maxMessageSize)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))

	// Reset the read deadline when we receive a pong
	c.conn.SetPongHandler(func(string) error {
		c.conn.SetReadDeadline(time.Now().Add(pongWait))
		return nil
	})

	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			if websocket.IsUnexpectedCloseError(err,
				websocket.CloseGoingAway,
				websocket.CloseAbnormalClosure,
				// changed: an ordinary Close isn't worth a line either.
				websocket.CloseNormalClosure) {
				log.Printf("Error: %v", err)
			}
			break
		}
		// changed: for --echo. To the client's own channel, and not past the hub's closing of it.
		if echo {
			c.send <- message{kind, data}
			continue
		}
		// Broadcast the received message to all clients
		c.hub.broadcast <- message{kind, data}
	}
}

// writePump pumps messages from the hub to the WebSocket connection
func (c *Client) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()

	for {
		select {
		case message, ok := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				// Hub closed the channel
				c.conn.WriteMessage(websocket.CloseMessage, []byte{})
				return
			}

			// Write the message to the WebSocket
			// changed: NextWriter, Write and Close in the tutorial, which makes two frames, and two
			// system calls, of a message that is longer than the buffer; the load generator takes a
			// message for one frame.
			if err := c.conn.WriteMessage(message.kind, message.data); err != nil {
				return
			}

		case <-ticker.C:
			// Send periodic ping to keep connection alive
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if err := c.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

// serveWs handles WebSocket requests from the client
func serveWs(hub *Hub, w http.ResponseWriter, r *http.Request) {
	// Upgrade the HTTP connection to WebSocket
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		log.Printf("Upgrade error: %v", err)
		return
	}

	// Create a new client for this connection
	client := &Client{
		hub:  hub,
		conn: conn,
		send: make(chan message, 256),
	}
	client.hub.register <- client

	// Start the read and write pumps in separate goroutines
	go client.writePump()
	go client.readPump()
}

// changed: our command line.
var (
	port int
	echo bool
)

func main() {
	flag.IntVar(&port, "port", 8080, "the port to listen on, 0 for any")
	flag.BoolVar(&echo, "echo", false, "a message goes back to its sender alone")
	flag.Parse()

	hub := NewHub()
	go hub.Run()

	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		serveWs(hub, w, r)
	})

	server := &http.Server{}

	// Handle graceful shutdown
	go func() {
		sigChan := make(chan os.Signal, 1)
		signal.Notify(sigChan, syscall.SIGINT, syscall.SIGTERM)
		<-sigChan

		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()

		if err := server.Shutdown(ctx); err != nil {
			log.Printf("Server shutdown error: %v", err)
		}
	}()

	// changed: the line that is waited for, after the port is open.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		log.Fatalf("Server error: %v", err)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatalf("Server error: %v", err)
	}
}
