// Netexec is what the test pods run: a server that says who it is and who asked, and a client to ask it with.
//
//	netexec serve                     HTTP on 8080, UDP on 8081, a TCP echo on 8082, both families
//	netexec get URL                   prints the answer's body; exits non-zero when the status is not 200
//	netexec udp ADDRESS:PORT WORD     sends one datagram, prints the answer
//	netexec hold ADDRESS:PORT SECONDS [FILE] keeps one TCP connection to the echo busy: prints lines sent, lines
//	                                  received, and the longest wait for one; ends early when FILE exists
//
// HTTP paths and UDP words: hostname, clientip, healthz. HTTP only: exit (ends the server with code 1).
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 3 * time.Second

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1 && arguments[0] == "serve":
		err = serve()
	case len(arguments) == 2 && arguments[0] == "get":
		err = get(arguments[1])
	case len(arguments) == 3 && arguments[0] == "udp":
		err = askUDP(arguments[1], arguments[2])
	case len(arguments) == 3 && arguments[0] == "hold":
		err = hold(arguments[1], arguments[2], "")
	case len(arguments) == 4 && arguments[0] == "hold":
		err = hold(arguments[1], arguments[2], arguments[3])
	default:
		err = fmt.Errorf("usage: netexec serve | get URL | udp ADDRESS:PORT WORD | hold ADDRESS:PORT SECONDS [FILE]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "netexec:", err)
		os.Exit(1)
	}
}

func answer(word, client string) (string, bool) {
	switch word {
	case "hostname":
		name, err := os.Hostname()
		return name, err == nil
	case "clientip":
		host, _, err := net.SplitHostPort(client)
		return strings.TrimPrefix(host, "::ffff:"), err == nil
	case "healthz":
		return "ok", true
	}
	return "", false
}

func serve() error {
	failed := make(chan error)
	go func() { failed <- serveHTTP() }()
	go func() { failed <- serveUDP() }()
	go func() { failed <- serveEcho() }()
	fmt.Println("serving")
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	select {
	case err := <-failed:
		return err
	case <-ended:
		return nil
	}
}

func serveHTTP() error {
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		word := strings.TrimPrefix(r.URL.Path, "/")
		if word == "exit" {
			os.Exit(1)
		}
		text, ok := answer(word, r.RemoteAddr)
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
}

func serveUDP() error {
	connection, err := net.ListenPacket("udp", ":8081")
	if err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for {
		length, client, err := connection.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if text, ok := answer(strings.TrimSpace(string(buffer[:length])), client.String()); ok {
			connection.WriteTo([]byte(text), client)
		}
	}
}

func serveEcho() error {
	listener, err := net.Listen("tcp", ":8082")
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}

func get(url string) error {
	client := http.Client{Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func askUDP(address, word string) error {
	connection, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	connection.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(connection, word); err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	length, err := connection.Read(buffer)
	if err != nil {
		return err
	}
	fmt.Print(string(buffer[:length]))
	return nil
}

func hold(address, seconds, file string) error {
	count, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	reader := bufio.NewReader(connection)
	sent, received, longest := 0, 0, time.Duration(0)
	for end := time.Now().Add(time.Duration(count) * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file); file != "" && err == nil {
			break
		}
		from := time.Now()
		connection.SetDeadline(from.Add(10 * time.Second))
		sent++
		if _, err := fmt.Fprintf(connection, "%d\n", sent); err != nil {
			return fmt.Errorf("after %d lines: %w", sent, err)
		}
		line, err := reader.ReadString('\n')
		if err != nil {
			return fmt.Errorf("after %d lines: %w", sent, err)
		}
		if strings.TrimSpace(line) == strconv.Itoa(sent) {
			received++
		}
		longest = max(longest, time.Since(from))
	}
	fmt.Printf("%d sent, %d received, longest wait %d ms\n", sent, received, longest.Milliseconds())
	return nil
}
