// Package lru is a map that forgets the entry which was used least recently, one at a
// time, instead of growing without bound.
package lru

import (
	"container/list"
	"iter"
)

// Map keeps values by key. The zero Map is empty and ready for use. It must not be used
// by several goroutines at once.
type Map[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of *entry[K, V], the one used last at the front
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// Get returns the value of a key, which counts as a use.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	e, ok := m.entries[key]
	if !ok {
		return value, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Set sets the value of a key, which counts as a use. If the map then has more than limit
// entries, it drops the one that was used least recently.
func (m *Map[K, V]) Set(key K, value V, limit int) {
	if e, ok := m.entries[key]; ok {
		e.Value.(*entry[K, V]).value = value
		m.order.MoveToFront(e)
		return
	}
	if m.entries == nil {
		m.entries = make(map[K]*list.Element)
	}
	m.entries[key] = m.order.PushFront(&entry[K, V]{key, value})
	if len(m.entries) > limit {
		oldest := m.order.Back()
		m.order.Remove(oldest)
		delete(m.entries, oldest.Value.(*entry[K, V]).key)
	}
}

// Len is the number of entries.
func (m *Map[K, V]) Len() int { return len(m.entries) }

// All goes through the entries, the one used last first. It counts as no use. The body of
// the loop may use the entry that it is at, but no other, and may set none.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		var next *list.Element
		for e := m.order.Front(); e != nil; e = next {
			next = e.Next() // a use would move e to the front, and the loop would begin anew
			if kept := e.Value.(*entry[K, V]); !yield(kept.key, kept.value) {
				return
			}
		}
	}
}
