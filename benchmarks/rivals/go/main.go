// block FILE REPEATS: time btcd's wire package on reading and writing a block's payload.
//
// Prints one line of JSON: the seconds of each repeat. Go's collector frees when it sees fit,
// on another core where there is one: its cost is in the repeats on which it falls.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"github.com/btcsuite/btcd/wire"
)

const warmUp = 5

func main() {
	payload, err := os.ReadFile(os.Args[1])
	check(err)
	repeats, err := strconv.Atoi(os.Args[2])
	check(err)

	block := read(payload)
	if !bytes.Equal(write(block), payload) {
		panic("it is not written as it was read")
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string][]float64{
		"decode": timed(repeats, func() { read(payload) }),
		"encode": timed(repeats, func() { write(block) }),
	}))
}

func read(payload []byte) *wire.MsgBlock {
	block := new(wire.MsgBlock)
	check(block.BtcDecode(bytes.NewReader(payload), wire.ProtocolVersion, wire.WitnessEncoding))
	return block
}

func write(block *wire.MsgBlock) []byte {
	buffer := bytes.NewBuffer(make([]byte, 0, block.SerializeSize()))
	check(block.BtcEncode(buffer, wire.ProtocolVersion, wire.WitnessEncoding))
	return buffer.Bytes()
}

// timed gives the seconds of each repeat; a few before them warm up.
func timed(repeats int, work func()) []float64 {
	times := []float64{}
	for round := 0; round < repeats+warmUp; round++ {
		start := time.Now()
		work()
		if round >= warmUp {
			times = append(times, time.Since(start).Seconds())
		}
	}
	return times
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
