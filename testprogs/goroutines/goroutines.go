// Go: its own stacks, frame pointers everywhere, and call frame information in the debug info only.
//
// goroutines [SECONDS=5]
//
// Expected stacks, root first:
//
//	runtime.goexit; runtime.main; main.main; main.outer; main.inner
//	runtime.goexit; main.main.func…; main.other; main.inner
package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

const unit = 10000

var stop int32

//go:noinline
func inner(value uint64) uint64 {
	for atomic.LoadInt32(&stop) == 0 {
		for count := 0; count < unit; count++ {
			value = value*6364136223846793005 + 1442695040888963407
		}
	}
	return value
}

//go:noinline
func outer(value uint64) uint64 {
	return inner(value+1) + 1
}

//go:noinline
func other(value uint64) uint64 {
	return inner(value+2) + 2
}

func main() {
	seconds := 5.0
	if len(os.Args) > 1 {
		var err error
		if seconds, err = strconv.ParseFloat(os.Args[1], 64); err != nil || seconds < 0.001 || seconds > 86400 {
			os.Exit(2)
		}
	}
	time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { atomic.StoreInt32(&stop, 1) })
	done := make(chan uint64)
	go func() { done <- other(1) }()
	result := outer(1) + <-done
	if result == 0 {
		os.Exit(1)
	}
}
