// Drives a server that speaks toxiproxy's API with toxiproxy's own client, and prints what it
// answers and what becomes of traffic. Run against toxiproxy and against lbcproxy it must print the
// same.
//
//	main API LISTEN1 LISTEN2
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/Shopify/toxiproxy/v2/client"
)

func main() {
	api, first, second := os.Args[1], os.Args[2], os.Args[3]
	upstream := echo()
	names := strings.NewReplacer(first, "FIRST", second, "SECOND", upstream, "UPSTREAM")
	say := func(words string, values ...interface{}) {
		fmt.Println(names.Replace(fmt.Sprintf(words, values...)))
	}
	c := toxiproxy.NewClient(api)

	all, err := c.Proxies()
	say("at first: %d proxies %s", len(all), why(err))
	proxy, err := c.CreateProxy("one", first, upstream)
	say("create: %s %s", show(proxy), why(err))
	_, err = c.CreateProxy("one", second, upstream)
	say("create again: %s", why(err))
	_, err = c.CreateProxy("", second, upstream)
	say("create without a name: %s", why(err))
	_, err = c.CreateProxy("two", second, "")
	say("create without an upstream: %s", why(err))
	_, err = c.Proxy("none")
	say("a proxy that is not there: %s", why(err))
	say("passes: %s", ask(first, 1000))

	add := func(name, kind, stream string, toxicity float32, attributes toxiproxy.Attributes) {
		toxic, err := proxy.AddToxic(name, kind, stream, toxicity, attributes)
		say("add %s: %s %s", kind, toxics(toxic), why(err))
	}
	remove := func(name string) { say("remove %s: %s", name, why(proxy.RemoveToxic(name))) }

	add("", "latency", "", 1, toxiproxy.Attributes{"latency": 300})
	say("with latency: %s", ask(first, 1000))
	add("", "latency", "downstream", 1, nil)
	add("", "unheard", "downstream", 1, nil)
	add("x", "latency", "sideways", 1, nil)
	add("x", "latency", "upstream", 1, toxiproxy.Attributes{"latency": "long"})
	updated, err := proxy.UpdateToxic("latency_downstream", -1, toxiproxy.Attributes{"jitter": 10})
	say("update: %s %s", toxics(updated), why(err))
	updated, err = proxy.UpdateToxic("latency_downstream", 0.5, toxiproxy.Attributes{"latency": 0})
	say("update: %s %s", toxics(updated), why(err))
	_, err = proxy.UpdateToxic("none", 1, nil)
	say("update what is not there: %s", why(err))
	remove("latency_downstream")
	remove("latency_downstream")
	say("without: %s", ask(first, 1000))

	add("slow", "bandwidth", "upstream", 1, toxiproxy.Attributes{"rate": 20})
	say("with bandwidth: %s", ask(first, 8000))
	remove("slow")
	add("bits", "slicer", "downstream", 1,
		toxiproxy.Attributes{"average_size": 100, "size_variation": 10, "delay": 1000})
	say("with slicer: %s", ask(first, 1000))
	remove("bits")
	add("cut", "limit_data", "downstream", 1, toxiproxy.Attributes{"bytes": 500})
	say("with limit_data: %s", ask(first, 1000))
	remove("cut")
	add("reset", "reset_peer", "upstream", 1, toxiproxy.Attributes{"timeout": 0})
	say("with reset_peer: %s", ask(first, 1000))
	remove("reset")
	add("hang", "timeout", "downstream", 1, toxiproxy.Attributes{"timeout": 300})
	say("with timeout: %s", ask(first, 1000))
	remove("hang")
	add("late", "slow_close", "downstream", 1, toxiproxy.Attributes{"delay": 300})
	say("with slow_close: %s", ask(first, 1000))
	add("never", "latency", "upstream", 0, toxiproxy.Attributes{"latency": 5000})
	say("with toxicity 0: %s", ask(first, 1000))
	found, err := proxy.Toxics()
	say("list: %s %s", list(found), why(err))

	say("removing lets go what waits: %s", removed(proxy, first))
	say("removing timeout closes: %s", hung(proxy, first))

	say("disable: %s", why(proxy.Disable()))
	say("disabled: %s", ask(first, 10))
	say("shown: %s", show(get(c, "one")))
	say("enable: %s", why(proxy.Enable()))
	say("shown: %s", show(get(c, "one")))
	made, err := c.Populate([]toxiproxy.Proxy{
		{Name: "one", Listen: first, Upstream: upstream, Enabled: true},
		{Name: "two", Listen: second, Upstream: upstream, Enabled: false},
	})
	for _, each := range made {
		say("populate: %s", show(each))
	}
	say("populate: %s", why(err))
	_, err = c.Populate([]toxiproxy.Proxy{{Name: "three", Listen: second}})
	say("populate without an upstream: %s", why(err))
	say("reset: %s", why(c.ResetState()))
	say("shown: %s", show(get(c, "one")))
	say("shown: %s", show(get(c, "two")))
	say("passes: %s", ask(second, 1000))
	proxy.Listen = second
	say("move to where another is: %v", proxy.Save() != nil)
	gone := get(c, "two")
	say("delete: %s", why(gone.Delete()))
	say("delete again: %s", why(gone.Delete()))
	all, err = c.Proxies()
	say("at last: %d proxies %s", len(all), why(err))
}

// echo answers each connection with what it says, and closes when it does.
func echo() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// ask sends so many bytes, closes, and tells what came back, how it ended, and how late, in words.
func ask(address string, size int) string {
	start := time.Now()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "no connection"
	}
	defer conn.Close()
	sent := bytes.Repeat([]byte("abcdefgh"), size/8)
	_, _ = conn.Write(sent)
	_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
	got := make([]byte, 0, size)
	part := make([]byte, 65536)
	for len(got) < len(sent) {
		count, err := conn.Read(part)
		got = append(got, part[:count]...)
		if err != nil {
			return fmt.Sprintf("%d bytes, %s, %s", len(got), ending(err), late(start))
		}
	}
	arrived := late(start)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, err = conn.Read(part)
	return fmt.Sprintf("same %v, %s, then %s, %s", bytes.Equal(sent, got), arrived, ending(err), late(start))
}

// removed asks through a latency that is taken away at once.
func removed(proxy *toxiproxy.Proxy, address string) string {
	_, _ = proxy.AddToxic("wait", "latency", "upstream", 1, toxiproxy.Attributes{"latency": 60000})
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = proxy.RemoveToxic("wait")
	}()
	return ask(address, 1000)
}

// hung asks into a black hole that is taken away.
func hung(proxy *toxiproxy.Proxy, address string) string {
	_, _ = proxy.AddToxic("hole", "timeout", "downstream", 1, toxiproxy.Attributes{"timeout": 0})
	go func() {
		time.Sleep(400 * time.Millisecond)
		_ = proxy.RemoveToxic("hole")
	}()
	return ask(address, 1000)
}

func late(start time.Time) string {
	if time.Since(start) < 250*time.Millisecond {
		return "soon"
	}
	return "late"
}

func ending(err error) string {
	switch {
	case err == nil:
		return "more"
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

func get(c *toxiproxy.Client, name string) *toxiproxy.Proxy {
	proxy, err := c.Proxy(name)
	if err != nil {
		panic(err)
	}
	return proxy
}

func show(proxy *toxiproxy.Proxy) string {
	if proxy == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s to %s enabled %v [%s]",
		proxy.Name, proxy.Listen, proxy.Upstream, proxy.Enabled, list(proxy.ActiveToxics))
}

func list(all toxiproxy.Toxics) string {
	var words []string
	for index := range all {
		words = append(words, toxics(&all[index]))
	}
	return strings.Join(words, ", ")
}

func toxics(toxic *toxiproxy.Toxic) string {
	if toxic == nil {
		return "-"
	}
	var words []string
	for name, value := range toxic.Attributes {
		words = append(words, fmt.Sprintf("%s=%v", name, value))
	}
	sort.Strings(words)
	return fmt.Sprintf("%s/%s/%s/%v{%s}",
		toxic.Name, toxic.Type, toxic.Stream, toxic.Toxicity, strings.Join(words, " "))
}

// why gives the status and the words of an error, without what each server adds to a bad body.
func why(err error) string {
	if err == nil {
		return "ok"
	}
	var api *toxiproxy.ApiError
	if !errors.As(err, &api) {
		return err.Error()
	}
	words := api.Message
	if at := strings.Index(words, "bad request body"); at >= 0 {
		words = words[:at] + "bad request body"
	}
	return fmt.Sprintf("%d %s", api.Status, words)
}
