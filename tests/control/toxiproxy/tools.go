//go:build tools

package main

// The server that ours is compared with, so that go.sum has all that it needs.
import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
