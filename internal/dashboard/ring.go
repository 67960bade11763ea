package dashboard

import "encoding/json"

// ring keeps the last values, each with a number, from 1. Values are encoded when somebody asks
// for them, and once.
type ring[T any] struct {
	most int
	all  []numbered[T] // the oldest first, once it is full from next%most on
	next uint64        // values that were ever added
}

type numbered[T any] struct {
	value T
	text  json.RawMessage // nil until somebody has asked
}

func (r *ring[T]) add(value T) {
	if len(r.all) < r.most {
		r.all = append(r.all, numbered[T]{value: value})
	} else {
		r.all[r.next%uint64(r.most)] = numbered[T]{value: value}
	}
	r.next++
}

// since returns the values after the one with a number, the oldest first, and the number of the
// last.
func (r *ring[T]) since(number uint64) (all []json.RawMessage, last uint64) {
	first := max(number, r.next-uint64(len(r.all)))
	for i := first; i < r.next; i++ {
		v := &r.all[i%uint64(r.most)]
		if v.text == nil {
			v.text, _ = json.Marshal(v.value) // cannot fail: values are plain
		}
		all = append(all, v.text)
	}
	return all, r.next
}
