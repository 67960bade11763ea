package jobs

import (
	"context"
	"encoding/json"
	"errors"
)

// questions are what the work of a job asks its owner.
type questions struct {
	open     map[string]json.RawMessage // by name
	answers  map[string]json.RawMessage
	answered chan struct{} // closed when none is open
}

// Ask asks the owner of the job, who sees the questions in Info, and waits until all of them
// have been answered or ctx ends. Only the work of the job may call it, for one set of
// questions at a time. What the questions and answers are is left to both.
func (j *Job) Ask(ctx context.Context, ask map[string]json.RawMessage) (answers map[string]json.RawMessage, err error) {
	if len(ask) == 0 {
		return nil, errors.New("the work of a job asks for nothing")
	}
	q := &questions{open: ask, answers: make(map[string]json.RawMessage), answered: make(chan struct{})}
	j.ask(q)
	defer j.ask(nil)
	select {
	case <-q.answered:
		return q.answers, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (j *Job) ask(q *questions) {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	j.asking = q
}

// Answer answers questions of the job. Answers to questions that are not open are ignored: they
// may have been answered before. It fails if the job is one of another replica, which cannot be
// told now, with an error that explains itself to callers.
func (j *Job) Answer(answers map[string]json.RawMessage) error {
	if j.isElsewhere() {
		return j.answerElsewhere(answers)
	}
	j.answer(answers)
	return nil
}

func (j *Job) answer(answers map[string]json.RawMessage) {
	j.registry.mu.Lock()
	defer j.registry.mu.Unlock()
	q := j.asking
	if q == nil || len(q.open) == 0 {
		return
	}
	for name, answer := range answers {
		if _, isOpen := q.open[name]; isOpen {
			delete(q.open, name)
			q.answers[name] = answer
		}
	}
	if len(q.open) == 0 {
		close(q.answered)
	}
}
