package main

import (
	"fmt"
	"net"
	"os"
)

// notify tells the service manager what the service is about (sd_notify: NOTIFY_SOCKET of systemd). Without
// one, it does nothing.
func (c *cli) notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil { // the manager will say that it waited in vain
		fmt.Fprintln(c.errOut, "sae: telling the service manager:", err)
	}
}
