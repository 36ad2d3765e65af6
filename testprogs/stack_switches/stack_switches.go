// Go: functions of its runtime that leave a goroutine's stack for the thread's own.
//
// stack_switches [SECONDS=5]
//
// Expected stacks, root first:
//
//	runtime.goexit; main.lookBack; runtime.Callers; runtime.callers; runtime.systemstack; …
//	runtime.goexit; main.tellTime; time.Now; time.now; the kernel's code for telling the time
//	runtime.goexit; main.descend; main.descend; …; runtime.morestack; runtime.newstack; …
package main

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// Deep enough that a stack of 2 KiB grows seven times, and well below the limit of frames.
const depth = 400

var stop, sink int32

//go:noinline
func lookBack(done chan<- bool) {
	var callers [64]uintptr
	for atomic.LoadInt32(&stop) == 0 {
		atomic.AddInt32(&sink, int32(runtime.Callers(0, callers[:])))
	}
	done <- true
}

//go:noinline
func tellTime(done chan<- bool) {
	for atomic.LoadInt32(&stop) == 0 {
		atomic.AddInt32(&sink, int32(time.Now().Nanosecond()))
	}
	done <- true
}

//go:noinline
func descend(left int, done chan<- bool) byte {
	var frame [512]byte
	frame[left%len(frame)] = byte(left)
	if left == 0 {
		done <- true
		return frame[0]
	}
	return descend(left-1, done) + frame[left%len(frame)]
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
	ended, descended := make(chan bool), make(chan bool)
	go lookBack(ended)
	go tellTime(ended)
	for atomic.LoadInt32(&stop) == 0 {
		go descend(depth, descended)
		<-descended
	}
	<-ended
	<-ended
}
