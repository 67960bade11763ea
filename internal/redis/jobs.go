package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
	"ollama-mcp/internal/jobs"
)

// A job that a replica tells of has a record, which says how it stands, and another with its result;
// both name the replica. A list of jobs is a hash of handles, and what a replica is asked is a hash
// too. All are forgotten by themselves, and made good by a replica that goes on telling of its jobs.

const (
	// listTime is for how long a list of jobs is kept after the last was told of, at least.
	listTime = 24 * time.Hour
	// askedTime is for how long a replica may be asked something.
	askedTime = time.Minute
)

func (c *Client) keyOfJob(id string) string    { return c.keyOfLimit("job", id) }
func (c *Client) keyOfResult(id string) string { return c.keyOfJob(id) + ":result" }
func (c *Client) keyOfList(list string) string { return c.keyOfLimit("jobs", list) }

// keyOfAsked is the key of what a replica is asked.
func (c *Client) keyOfAsked(replica string) string { return c.keyOfLimit("asked", replica) }

// encodeOwn makes a record of something that this replica says.
func (c *Client) encodeOwn(key string, data []byte) (record []byte, err error) {
	record, err = c.sealer.encode(key, header{Scope: cache.Scope{Tenant: c.id}, Stored: time.Now()}, data)
	if errors.Is(err, errTooLarge) {
		c.tooLarge.Add(1)
	}
	return record, err
}

// PutJob implements jobs.Shared.
func (c *Client) PutJob(j jobs.Told) (ok bool) {
	if !c.usable.Load() {
		return false
	}
	key, ttl := c.keyOfJob(j.ID), milliseconds(max(j.TTL, time.Millisecond))
	record, err := c.encodeOwn(key, j.Data)
	var result, entry []byte
	if err == nil && j.Result != nil {
		if result, err = c.encodeOwn(c.keyOfResult(j.ID), j.Result); errors.Is(err, errTooLarge) {
			err = nil // the others hear that there is one
		}
	}
	if err == nil && j.List != "" {
		entry, err = c.encodeOwn(c.keyOfList(j.List), []byte(j.ID))
	}
	if err != nil {
		return false
	}
	return c.write(key, func(b rueidis.Builder) (all rueidis.Commands) {
		if result != nil { // first, since others look for it when they hear that there is one
			all = append(all, b.Arbitrary("SET").Keys(c.keyOfResult(j.ID)).Args(rueidis.BinaryString(result), "PX", ttl).Build())
		}
		all = append(all, b.Arbitrary("SET").Keys(key).Args(rueidis.BinaryString(record), "PX", ttl).Build())
		if j.List != "" {
			all = append(all,
				b.Arbitrary("HSET").Keys(c.keyOfList(j.List)).Args(c.sealer.name(j.ID), rueidis.BinaryString(entry)).Build(),
				b.Arbitrary("PEXPIRE").Keys(c.keyOfList(j.List)).Args(milliseconds(max(j.TTL, listTime))).Build())
		}
		return all
	})
}

// DropJob implements jobs.Shared.
func (c *Client) DropJob(id, list string) {
	c.write(c.keyOfJob(id), func(b rueidis.Builder) (all rueidis.Commands) {
		all = append(all, b.Arbitrary("DEL").Keys(c.keyOfJob(id), c.keyOfResult(id)).Build())
		if list != "" {
			all = append(all, b.Arbitrary("HDEL").Keys(c.keyOfList(list)).Args(c.sealer.name(id)).Build())
		}
		return all
	})
}

// Jobs implements jobs.Shared.
func (c *Client) Jobs(ids []string, withResults bool) (found map[string]jobs.Told, ok bool) {
	if len(ids) == 0 {
		return nil, c.usable.Load()
	}
	each := 1
	if withResults {
		each = 2
	}
	results, ok := c.do(context.Background(), func(b rueidis.Builder) (all rueidis.Commands) {
		for _, id := range ids {
			all = append(all, getRecord(b, c.keyOfJob(id)))
			if withResults {
				all = append(all, getRecord(b, c.keyOfResult(id)))
			}
		}
		return all
	})
	if !ok {
		return nil, false
	}
	found = make(map[string]jobs.Told)
	gone := make(map[string]bool)
	for i, id := range ids {
		h, data, isThere := c.decodeRecord(c.keyOfJob(id), results[each*i])
		if !isThere {
			continue
		}
		replica := h.Scope.Tenant
		if _, known := gone[replica]; !known {
			gone[replica] = c.isGone(replica)
		}
		told := jobs.Told{ID: id, Data: data, Replica: replica, Gone: gone[replica]}
		if withResults {
			if of, result, ok := c.decodeRecord(c.keyOfResult(id), results[each*i+1]); ok && of.Scope.Tenant == replica {
				told.Result = result
			}
		}
		found[id] = told
	}
	return found, true
}

// isGone reports whether nothing has been heard of a replica lately.
func (c *Client) isGone(replica string) bool {
	c.mu.Lock()
	h, known := c.replicas[replica]
	c.mu.Unlock()
	if known {
		return time.Since(h.seen) > goneAfter
	}
	// It may have begun since the last beat.
	results, ok := c.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("HGET").Keys(c.keyOfReplicas()).Args(replica).Build()}
	})
	return ok && rueidis.IsRedisNil(results[0].Error())
}

// JobList implements jobs.Shared.
func (c *Client) JobList(list string) (ids []string, ok bool) {
	entries, ok := c.readHash(c.keyOfList(list))
	for _, id := range entries {
		ids = append(ids, string(id))
	}
	return ids, ok
}

// readHash reads a hash of records, by their fields.
func (c *Client) readHash(key string) (records map[string][]byte, ok bool) {
	results, ok := c.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("HGETALL").Keys(key).Build()}
	})
	if !ok {
		return nil, false
	}
	fields, err := results[0].AsMap()
	if err != nil {
		c.noteUnreadable(key, err)
		return nil, true
	}
	records = make(map[string][]byte)
	for field, value := range fields {
		text, err := value.ToString()
		var data []byte
		if err == nil {
			_, data, err = c.sealer.decode(key, []byte(text))
		}
		if err != nil {
			c.noteUnreadable(key, err)
		}
		records[field] = data // nil for what is none of ours
	}
	return records, true
}

// AskReplica implements jobs.Shared.
func (c *Client) AskReplica(replica, name string, data []byte) (ok bool) {
	key := c.keyOfAsked(replica)
	record, err := c.encodeOwn(key, data)
	if err != nil {
		return false
	}
	return c.write(key, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{
			b.Arbitrary("HSET").Keys(key).Args(c.sealer.name(name), rueidis.BinaryString(record)).Build(),
			b.Arbitrary("PEXPIRE").Keys(key).Args(milliseconds(askedTime)).Build(),
		}
	})
}

// Asked implements jobs.Shared. What cannot be removed is asked again.
func (c *Client) Asked() (all [][]byte, ok bool) {
	key := c.keyOfAsked(c.id)
	records, ok := c.readHash(key)
	if len(records) == 0 {
		return nil, ok
	}
	var fields []string
	for field, data := range records {
		fields = append(fields, field)
		if data != nil {
			all = append(all, data)
		}
	}
	c.write(key, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("HDEL").Keys(key).Args(fields...).Build()}
	})
	return all, true
}

// Memory implements jobs.Shared. What is told is forgotten with the names of what was cleared.
func (c *Client) Memory() string {
	if !c.usable.Load() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cleared[allModels]
}
