package api

import (
	"fmt"
	"io"
	"os"
	"runtime/metrics"
)

// processGauges are what the runtime tells of itself, under the names that Prometheus' own client gives
// them where it has one.
var processGauges = []struct{ name, kind, help, of string }{
	{"go_goroutines", "gauge", "goroutines", "/sched/goroutines:goroutines"},
	{"go_gc_heap_live_bytes", "gauge", "heap that the last collection found in use", "/gc/heap/live:bytes"},
	{"go_memory_mapped_bytes", "gauge", "memory that the runtime has mapped, without that which it gave back", "/memory/classes/total:bytes"},
	{"go_gc_cycles_total", "counter", "collections", "/gc/cycles/total:gc-cycles"},
}

// writeProcess tells of the process: what a service that runs for months must not use more and more of.
func writeProcess(w io.Writer) {
	samples := make([]metrics.Sample, len(processGauges), len(processGauges)+1)
	for i, g := range processGauges {
		samples[i].Name = g.of
	}
	samples = append(samples, metrics.Sample{Name: "/memory/classes/heap/released:bytes"})
	metrics.Read(samples)
	for i, g := range processGauges {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			continue // another version of Go
		}
		v := samples[i].Value.Uint64()
		if released := samples[len(processGauges)].Value; g.name == "go_memory_mapped_bytes" && released.Kind() == metrics.KindUint64 {
			v -= released.Uint64()
		}
		head(w, g.name, g.kind, g.help)
		fmt.Fprintf(w, "%s %d\n", g.name, v)
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux alone
		head(w, "process_open_fds", "gauge", "open file descriptors")
		fmt.Fprintf(w, "process_open_fds %d\n", len(open)-1) // that of the folder itself is not one
	}
}
