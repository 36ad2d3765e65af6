// A program that profiles itself as Go programs do: `profiled CPU_FILE HEAP_FILE`. 75 % of its time is in hot.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

var (
	kept [][]byte
	sum  uint64
)

//go:noinline
func burn(n int) {
	for i := 0; i < n; i++ {
		sum = sum*31 + uint64(i)
	}
}

//go:noinline
func hot() { burn(3000000) }

//go:noinline
func cool() { burn(1000000) }

//go:noinline
func keep() {
	for i := 0; i < 1000; i++ {
		kept = append(kept, make([]byte, 4096))
	}
}

func create(path string) *os.File {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	return file
}

func main() {
	runtime.MemProfileRate = 4096
	cpu := create(os.Args[1])
	if err := pprof.StartCPUProfile(cpu); err != nil {
		panic(err)
	}
	labels := pprof.Labels("team", "db")
	pprof.Do(context.Background(), labels, func(context.Context) {
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
			hot()
			cool()
		}
	})
	pprof.StopCPUProfile()
	cpu.Close()
	keep()
	heap := create(os.Args[2])
	if err := pprof.WriteHeapProfile(heap); err != nil {
		panic(err)
	}
	heap.Close()
}
