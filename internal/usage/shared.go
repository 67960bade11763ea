package usage

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Shared keeps what each replica has counted, for the others. Its methods return within a short
// time.
type Shared interface {
	// Publish replaces what this replica has counted on a day, and is ok if that has been done.
	Publish(day string, data []byte) (ok bool)
	// Published returns what the other replicas have counted on some days; nothing if that cannot
	// be told now.
	Published(days []string) (data map[string][][]byte)
}

// noteOwn counts what this program has counted. The mutex is held.
func (u *Usage) noteOwn(k key, more Counts) {
	name := today()
	if u.own == nil {
		u.own, u.unsent = make(history), make(map[string]bool)
	}
	u.own.add(name, &day{rows: map[key]Counts{k: more}})
	u.unsent[name] = true
	for len(u.own) > maxPending {
		oldest := slices.Min(slices.Collect(maps.Keys(u.own)))
		delete(u.own, oldest)
		delete(u.unsent, oldest)
	}
}

// share tells the other replicas what has been counted here since they were last told.
func (u *Usage) share() {
	u.mu.Lock()
	sending := make(map[string][]byte)
	for name := range u.unsent {
		if data, err := json.Marshal(history{name: u.own[name]}.rows("", true)); err == nil {
			sending[name] = data
		}
	}
	clear(u.unsent)
	u.mu.Unlock()
	for name, data := range sending {
		if !u.opts.Shared.Publish(name, data) {
			u.mu.Lock()
			u.unsent[name] = true
			u.mu.Unlock()
		}
	}
}

// everywhere is what all replicas have counted since a day, as far as is known.
func (u *Usage) everywhere(since string) history {
	all := make(history)
	if u.opts.Shared == nil {
		return all
	}
	now := time.Now().UTC()
	var days []string
	for d := 0; d < maxPending; d++ {
		if name := now.AddDate(0, 0, -d).Format(time.DateOnly); name >= since {
			days = append(days, name)
		}
	}
	for name, published := range u.opts.Shared.Published(days) {
		for _, data := range published {
			if d := parseRows(data); d != nil {
				all.add(name, d)
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, d := range u.own {
		if name >= since {
			all.add(name, d)
		}
	}
	return all
}

// parseRows reads what another replica has published; nil if it makes no sense.
func parseRows(data []byte) *day {
	var rows []Row
	if json.Unmarshal(data, &rows) != nil || len(rows) > maxRows+1 {
		return nil
	}
	d := newDay()
	for _, r := range rows {
		if r.Calls < 0 || r.Failed < 0 || r.TokensIn < 0 || r.TokensOut < 0 {
			return nil
		}
		k := key{shortened(r.Caller), shortened(r.Model), r.Source}
		sum := d.rows[k]
		sum.Add(r.Counts)
		d.rows[k] = sum
	}
	return d
}

// raise raises counts to those of another view of the same calls. Files know of programs that
// share no counts, and the replicas of those that share no files; neither knows of a call that
// did not happen.
func (h history) raise(other history) {
	for name, d := range other {
		if h[name] == nil {
			h[name] = newDay()
		}
		for k, c := range d.rows {
			mine := h[name].rows[k]
			h[name].rows[k] = Counts{
				max(mine.Calls, c.Calls), max(mine.Failed, c.Failed), max(mine.TokensIn, c.TokensIn), max(mine.TokensOut, c.TokensOut),
				max(mine.Seconds, c.Seconds), max(mine.Saved, c.Saved),
			}
		}
	}
}
