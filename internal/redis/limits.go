package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/tally"
)

// What replicas count together is a hash for each caller, or for each thing with a daily budget.
// In it each replica has a field with its own counts as they stand, and not with changes: so a
// command that got lost, or a server that has lost its memory, is made good by the next one.

// Replicas is how many replicas there are, or were when the server could last be reached, this
// one included.
func (c *Client) Replicas() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.countReplicas(time.Now())
}

// takeScript counts calls against the limits of a caller: those that begin by a token bucket,
// those in flight by a field for each replica, which is gone if the replica does not renew it.
// The server's clock is the only one, since those of replicas may differ.
//
// Arguments: replica, calls in flight there, time in ms until it has to renew that, calls per
// second, burst, and calls in flight that are allowed (0 for no limit); then two for each wanted
// call: how many it spares, and whether it counts as in flight. Results, for each call: 0 if it
// may begin, -1 if too many are in flight, or else the time in ms until it may.
var takeScript = newScript(`
local key, own = KEYS[1], 'r ' .. ARGV[1]
local flying, lease, rate, burst, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local tokens, at, others = burst, now, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local name, value = all[i], all[i + 1]
  if name == 'bucket' then
    local had, when = string.match(value, '^(%S+) (%d+)$')
    if had then
      tokens = math.min(burst, tonumber(had) + math.max(0, now - tonumber(when)) * rate / 1000)
      at = math.max(now, tonumber(when))
    end
  elseif name ~= own and string.sub(name, 1, 2) == 'r ' then
    local n, ends = string.match(value, '^(%d+) (%d+)$')
    if ends and tonumber(ends) > now and tonumber(ends) <= now + 10 * lease then
      others = others + tonumber(n)
    else
      redis.call('HDEL', key, name)
    end
  end
end
local results = {}
for i = 7, #ARGV, 2 do
  local spare, flies = tonumber(ARGV[i]), ARGV[i + 1] == '1'
  local need = math.min(1 + spare, burst)
  if flies and most > 0 and others + flying + spare >= most then
    results[#results + 1] = -1
  elseif rate > 0 and tokens + 1e-6 < need then
    results[#results + 1] = math.max(1, math.ceil((need - tokens) * 1000 / rate))
  else
    if rate > 0 then tokens = math.max(0, tokens - 1) end
    if flies then flying = flying + 1 end
    results[#results + 1] = 0
  end
end
local keep = 0
if rate > 0 then
  redis.call('HSET', key, 'bucket', string.format('%.9f %.0f', tokens, at))
  keep = math.ceil(burst * 1000 / rate)
end
if most > 0 and flying > 0 then
  redis.call('HSET', key, own, string.format('%.0f %.0f', flying, now + lease))
else
  redis.call('HDEL', key, own)
end
redis.call('PEXPIRE', key, string.format('%.0f', math.max(keep, lease)))
return results`)

// Take implements quota.Shared.
func (c *Client) Take(id string, l caller.Limits, inFlight int, wants []quota.Want) (grants []quota.Grant, ok bool) {
	args := []string{
		c.id, strconv.Itoa(inFlight), milliseconds(leaseTime),
		strconv.FormatFloat(max(0, l.PerSecond), 'f', -1, 64), strconv.Itoa(l.CallsAtOnce()), strconv.Itoa(max(0, l.InFlight)),
	}
	for _, w := range wants {
		args = append(args, strconv.Itoa(w.Spare), bit(w.InFlight))
	}
	result, ok := c.eval(takeScript, c.keyOfLimit("limit", id), args)
	if !ok {
		return nil, false
	}
	waits, err := result.AsIntSlice()
	if err != nil || len(waits) != len(wants) {
		return nil, false
	}
	for _, ms := range waits {
		grants = append(grants, quota.Grant{OK: ms == 0, Wait: time.Duration(max(0, ms)) * time.Millisecond})
	}
	return grants, true
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// spendScript counts against the daily budget of something.
//
// Arguments: replica, its calls, its tokens, calls that it wants, calls and tokens that all may
// have together (0 for no limit), the number of replicas among which a hundredth of what is left
// may be reserved, the time in ms for which it is, and that for which the counts are kept; then
// names of other replicas and their counts, which the server had once and may have lost. Results: how many of the wanted
// calls may be made, how many are reserved beside them, and the counts of all replicas, with those
// calls among them.
var spendScript = newScript(`
local key, own = KEYS[1], ARGV[1]
local calls, tokens, want = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local mostCalls, mostTokens, replicas = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 10, #ARGV, 2 do redis.call('HSETNX', key, ARGV[i], ARGV[i + 1]) end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local otherCalls, allTokens = 0, tokens
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  if all[i] ~= own then
    local c, t, r, ends = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    if c then
      otherCalls, allTokens = otherCalls + tonumber(c), allTokens + tonumber(t)
      if tonumber(ends) > now then otherCalls = otherCalls + tonumber(r) end
    end
  end
end
local grant, reserve = want, 0
if mostCalls > 0 then grant = math.max(0, math.min(want, mostCalls - otherCalls - calls)) end
if mostTokens > 0 and allTokens >= mostTokens then grant = 0 end
calls = calls + grant
if mostCalls > 0 then reserve = math.max(0, math.floor((mostCalls - otherCalls - calls) / (100 * replicas))) end
redis.call('HSET', key, own, string.format('%.0f %.0f %.0f %.0f', calls, tokens, reserve, now + tonumber(ARGV[8])))
redis.call('PEXPIRE', key, ARGV[9])
return {grant, reserve, redis.call('HGETALL', key)}`)

const (
	// reservedTime is for how long calls are reserved.
	reservedTime = 2 * time.Second
	// spentTime is for how long the counts of a day are kept after the last one.
	spentTime = 48 * time.Hour
)

// Spend implements tally.Shared.
func (c *Client) Spend(s tally.Spending) (got tally.Spent, ok bool) {
	args := []string{
		c.id, strconv.Itoa(s.Own.Calls), strconv.Itoa(s.Own.Tokens), strconv.Itoa(s.Want),
		strconv.Itoa(s.Limits.Calls), strconv.Itoa(s.Limits.Tokens), strconv.Itoa(c.Replicas()),
		milliseconds(reservedTime), milliseconds(spentTime),
	}
	for replica, n := range s.Others {
		args = append(args, replica, fmt.Sprintf("%d %d 0 0", n.Calls, n.Tokens))
	}
	result, ok := c.eval(spendScript, c.keyOfLimit("spent:"+s.Day, s.Name), args)
	if !ok {
		return got, false
	}
	list, err := result.ToArray()
	if err != nil || len(list) != 3 {
		return got, false
	}
	granted, err1 := list[0].AsInt64()
	reserve, err2 := list[1].AsInt64()
	all, err3 := list[2].AsStrMap()
	if errors.Join(err1, err2, err3) != nil {
		return got, false
	}
	got = tally.Spent{Granted: int(granted), Reserved: int(reserve), Others: make(map[string]tally.Count)}
	for replica, text := range all {
		var n tally.Count
		if _, err := fmt.Sscanf(text, "%d %d", &n.Calls, &n.Tokens); err == nil && replica != c.id {
			got.Others[replica] = n
		}
	}
	return got, true
}

// keyOfLimit is the key of what replicas count together.
func (c *Client) keyOfLimit(what, name string) string {
	return fmt.Sprintf("%s:%d:%s:{%s}", c.opts.Prefix, recordVersion, what, c.sealer.name(name))
}

// eval runs a script. It is not ok if the server cannot be asked now, or refuses.
func (c *Client) eval(s script, key string, args []string) (result rueidis.RedisResult, ok bool) {
	results, ok := c.run(s, []string{key}, args, nil)
	if !ok {
		return result, false
	}
	if err := refusal(results[0]); err != nil {
		c.noteRefused(key, err)
		return result, false
	}
	if c.unlimited.Load() != nil {
		c.unlimited.Store(nil)
	}
	return results[0], true
}

// noteRefused notes that a script was refused.
func (c *Client) noteRefused(key string, err error) {
	if takesNoWrites(err) {
		c.noteWrite(err)
		return
	}
	c.noteUnreadable(key, err)
	c.unlimited.Store(new("limits are not shared: " + err.Error()))
}

// takesNoWrites reports whether a server has refused a command as it would any other that writes.
func takesNoWrites(err error) bool {
	text := err.Error()
	for _, word := range []string{"OOM", "READONLY", "MISCONF"} {
		if strings.Contains(text, word) { // the error of a script may begin otherwise
			return true
		}
	}
	return false
}

// usageTime is for how long the usage of a day is kept after it was last told.
const usageTime = 35 * 24 * time.Hour

// Publish implements usage.Shared.
func (c *Client) Publish(day string, data []byte) (ok bool) {
	key := c.keyOfLimit("usage", day)
	record, err := c.sealer.encode(key, header{Scope: cache.Scope{Tenant: c.id}}, data)
	if err != nil {
		return false
	}
	results, ok := c.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{
			b.Arbitrary("HSET").Keys(key).Args(c.id, rueidis.BinaryString(record)).Build(),
			b.Arbitrary("PEXPIRE").Keys(key).Args(milliseconds(usageTime)).Build(),
		}
	})
	return ok && refusal(results[0]) == nil
}

// Published implements usage.Shared.
func (c *Client) Published(days []string) map[string][][]byte {
	results, ok := c.do(context.Background(), func(b rueidis.Builder) (all rueidis.Commands) {
		for _, day := range days {
			all = append(all, b.Arbitrary("HGETALL").Keys(c.keyOfLimit("usage", day)).Build())
		}
		return all
	})
	if !ok {
		return nil
	}
	data := make(map[string][][]byte)
	for i, day := range days {
		key := c.keyOfLimit("usage", day)
		byReplica, err := results[i].AsStrMap()
		if err != nil {
			c.noteUnreadable(key, err)
			continue
		}
		for replica, record := range byReplica {
			if replica == c.id {
				continue
			}
			h, rows, err := c.sealer.decode(key, []byte(record))
			if err == nil && h.Scope.Tenant != replica {
				err = errors.New("it is that of another replica")
			}
			if err != nil {
				c.noteUnreadable(key, err)
				continue
			}
			data[day] = append(data[day], rows)
		}
	}
	return data
}
