package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/calllog"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/tracing"
	"ollama-mcp/internal/usage"
)

// recording is the work of observers that write to disks, or send what they know. It goes on until all calls are over.
type recording struct {
	stop context.CancelFunc // nil before it has begun
	work sync.WaitGroup
}

// maxRecordingEnd is how long the program waits for a disk when it ends.
const maxRecordingEnd = 5 * time.Second

// end ends the work when what is known of all calls has been written, unless a disk hangs.
func (r *recording) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work.Wait()
	}()
	select {
	case <-done:
	case <-time.After(maxRecordingEnd):
	}
}

// startRecording begins the work.
func (s *service) startRecording() {
	life, stop := context.WithCancel(context.Background())
	s.recording.stop = stop
	if s.later != nil {
		writing, written := context.WithCancel(context.Background())
		s.recording.work.Go(func() {
			defer written()
			s.later.Run(life)
		})
		if s.callLog != nil {
			s.recording.work.Go(func() { s.callLog.Run(writing) })
		}
	}
	if s.tracer != nil {
		sendTheRest := s.tracer.Start() // before the first call
		s.recording.work.Go(func() {
			<-life.Done()
			sendTheRest()
		})
	}
	s.recording.work.Go(func() { s.usage.Run(life) })
}

// newUsage makes the counts of what callers use.
func (s *service) newUsage() *usage.Usage {
	isBudget := func(k config.Key) bool { return k.Caller.Limits.CallsPerDay > 0 || k.Caller.Limits.TokensPerDay > 0 }
	if s.config.StateDir == "" && s.redis == nil && slices.ContainsFunc(s.config.Keys, isBudget) {
		s.log.Warn("daily budgets of keys are counted anew at each start; see --state-dir")
	}
	o := usage.Options{Dir: s.stateDir("usage"), Tally: s.tally, HasModel: s.hasModel, Log: s.log}
	if s.redis != nil {
		o.Shared = s.redis
	}
	return usage.New(o)
}

// newCallLog makes the log of calls, if one is wanted.
func (s *service) newCallLog() *calllog.Log {
	c := s.config
	if c.CallLog == "" {
		return nil
	}
	return calllog.New(calllog.Options{
		File: c.CallLog, MaxSize: int64(c.CallLogSize) << 20, MaxAge: c.CallLogAge, Keep: c.CallLogKeep, Waiting: s.memory.logged, Log: s.log,
	})
}

// newTracer makes the tracer, if the environment asks for traces.
func (s *service) newTracer() *tracing.Tracer {
	return tracing.New(tracing.Options{Version: version(), Transport: s.transport(), Texts: s.config.TraceContent, TextBytes: s.memory.traced, Log: s.log})
}

// propagate is what tells hosts of the spans that their requests are part of; nil for nothing.
func (s *service) propagate() func(context.Context, inference.Event) context.Context {
	if s.tracer == nil {
		return nil
	}
	return s.tracer.Propagate
}

// droppedLines returns how many calls have no line in the call log; nil without one.
func (s *service) droppedLines() func() (bufferFull, disk uint64) {
	if s.callLog == nil {
		return nil
	}
	return func() (bufferFull, disk uint64) {
		d := s.callLog.Dropped()
		return d.BufferFull, d.Disk
	}
}
