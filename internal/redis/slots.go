package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/pool"
)

// The slots of all hosts are leased to the replicas. Each has a field in one hash, with how many of
// each host it was granted and until when, and stops to use what it gives back before it says so:
// no two replicas ever use the same slot while the server answers.

// leaseScript grants slots of hosts to a replica, at once for all of them: those that its calls have;
// one for each call that waits, where the slot is free and nobody's share; and, if few are in use and no
// other replica lacks any, some for calls to come. The shares of a host count where more are wanted than
// it has: they go round those that want one, first those that have none, the one that has waited longest
// before the others, and then those that have had some for the shortest time.
//
// Keys: the hash, and what names a replica for a moment that lacks slots. Arguments: replica, the time in
// ms until it has to renew the leases, how many of its calls wait, how many of the hosts below serve these
// without loading a model, and how many serve them at all; then for each host its name, how many slots the
// replica keeps at least, how many it wants, and how many the host has as far as it knows. Results: how
// many slots are for calls to come; then for each host how many the replica is granted, and how many it
// may use, which may be fewer.
const leaseScript = `
local key, own, lease, need = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local ready, serving = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local each = ' (%S+) (%d+) (%d+) (%d+) (%d+)'
local lists, had, since = {}, {}, {}
local taken, wanted, used, most = {}, {}, {}, {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local name = all[i]
  local ends, list = string.match(all[i + 1], '^(%d+)(.*)$')
  if not ends or tonumber(ends) <= now or tonumber(ends) > now + 10 * lease then
    redis.call('HDEL', key, name)
  elseif name == own then
    for host, granted, _, _, at in string.gmatch(list, each) do
      had[host], since[host] = granted ~= '0', at
    end
  else
    lists[#lists + 1] = {name, list}
    for host, granted, wants, slots in string.gmatch(list, each) do
      granted, wants = tonumber(granted), tonumber(wants)
      taken[host], wanted[host] = (taken[host] or 0) + granted, (wanted[host] or 0) + wants
      used[host], most[host] = (used[host] or 0) + math.min(granted, wants), math.max(most[host] or 0, tonumber(slots))
    end
  end
end
local n, idle, size, scarce = (#ARGV - 5) / 4, 0, 0, {}
local granted, wants, slots, fair = {}, {}, {}, {}
for i = 1, n do
  local at = 2 + 4 * i
  local host = ARGV[at]
  granted[i], wants[i], slots[i] = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), math.max(tonumber(ARGV[at + 3]), most[host] or 0)
  fair[i] = math.max(0, slots[i] - (wanted[host] or 0))
  if fair[i] < wants[i] then
    local has = granted[i] > 0
    scarce[host] = {i, {name = own, has = has, wants = wants[i], since = has == had[host] and tonumber(since[host]) or now}}
  end
  idle, size = idle + math.max(0, slots[i] - granted[i] - (used[host] or 0)), size + slots[i]
end
if next(scarce) then
  for _, other in ipairs(lists) do
    for host, granted, wants, _, at in string.gmatch(other[2], each) do
      local turns = scarce[host]
      if turns then turns[#turns + 1] = {name = other[1], has = granted ~= '0', wants = tonumber(wants), since = tonumber(at)} end
    end
  end
end
for host, turns in pairs(scarce) do
  local i = table.remove(turns, 1)
  table.sort(turns, function(a, b)
    if a.has ~= b.has then return b.has end
    if a.since == b.since then return a.name < b.name end
    return (a.since > b.since) == a.has
  end)
  local left, round = slots[i], 0
  fair[i] = 0
  while left > 0 do
    round = round + 1
    for _, c in ipairs(turns) do
      if left > 0 and c.wants >= round then
        left = left - 1
        if c.name == own then fair[i] = round end
      end
    end
  end
end
local function give(from, to, some)
  local given = true
  while some > 0 and given do
    given = false
    for i = from, to do
      if some > 0 and granted[i] < fair[i] and granted[i] < slots[i] - (taken[ARGV[2 + 4 * i]] or 0) then
        granted[i], some, given = granted[i] + 1, some - 1, true
      end
    end
  end
  return some
end
local spare, lacks = 0, redis.call('GET', KEYS[2])
if give(ready + 1, serving, give(1, ready, need)) > 0 then
  redis.call('SET', KEYS[2], own, 'PX', 100)
elseif not lacks or lacks == own then
  if #lists > 0 then idle = idle - size / 10 end
  spare = math.max(0, math.floor(idle / (#lists + 1)))
  spare = spare - give(1, n, spare)
end
local list, results = {string.format('%.0f', now + lease)}, {spare}
for i = 1, n do
  if granted[i] > 0 or wants[i] > 0 then
    local host = ARGV[2 + 4 * i]
    local at = (granted[i] > 0) == had[host] and since[host] or string.format('%.0f', now)
    list[#list + 1] = string.format('%s %.0f %.0f %.0f %s', host, granted[i], wants[i], slots[i], at)
  end
  results[2 * i], results[2 * i + 1] = granted[i], fair[i]
end
redis.call('HSET', key, own, table.concat(list, ' '))
redis.call('PEXPIRE', key, string.format('%.0f', 10 * lease))
return results`

const (
	// shareInterval is how often leases are renewed, and news exchanged, and hurryInterval how often
	// it is looked whether leases should be renewed before.
	shareInterval = time.Second
	hurryInterval = 50 * time.Millisecond
	// scriptTime is the least time between two renewals for each host and each replica. The script takes
	// a hundredth of it, so that twenty replicas take up to a fifth of the server's time.
	scriptTime = 100 * time.Microsecond
)

// sharing is the division of the hosts of a pool between replicas.
type sharing struct {
	*Client
	pool   *pool.Pool
	leases map[string]int       // slots that were granted, by host; none while the server cannot be asked
	spare  int                  // how many of them are for calls to come
	needs  bool                 // calls were waiting that got no slot
	unused map[string]bool      // hosts on which the pool had a slot for a call that goes on waiting, until the others are told
	parts  map[string]pool.Part // what the pool goes by
	heard  map[string]pool.Part // what the others tell of each host; the slots are not set
	told   time.Time            // when they were told last, and heard
	urgent string               // what they were told then that they want to hear at once; see urgent
}

// news is what a replica tells the others of a host.
type news struct {
	Busy    map[string]int `json:"b,omitempty"` // calls there, by model
	Learned map[string]int `json:"l,omitempty"` // slots, by model
	Ill     string         `json:"i,omitempty"` // why the host is sent no calls; "" if it is
	Loading []loadNews     `json:"o,omitempty"` // models that it is loading
	Loaded  []loadNews     `json:"d,omitempty"` // models that it has loaded lately
}

// loadNews is a pool.Load. The names of its members are part of the form of news.
type loadNews struct {
	Model  string        `json:"m"`
	NumCtx int           `json:"c,omitempty"`
	Others string        `json:"o,omitempty"`
	Age    time.Duration `json:"a"` // nanoseconds, as the others
	Takes  time.Duration `json:"t,omitempty"`
	Holds  time.Duration `json:"h,omitempty"`
}

// tellLoads and hearLoads turn loads into news, and news that make sense into loads.
func tellLoads(loads []pool.Load) (all []loadNews) {
	for _, l := range loads {
		all = append(all, loadNews(l))
	}
	return all
}

func hearLoads(told []loadNews) (all []pool.Load) {
	for _, l := range told {
		if l.Model != "" && min(l.Age, l.Takes, l.Holds) >= 0 && l.NumCtx >= 0 {
			all = append(all, pool.Load(l))
		}
	}
	return all
}

// urgent is what others want to hear of hosts at once when it changes: which are ill, and which models they
// are loading.
func urgent(claims []*pool.Claim) string {
	var all []string
	for _, claim := range claims {
		text := fmt.Sprintf("%q %t", claim.Host, claim.Ill != "")
		for _, l := range claim.Loading {
			text += fmt.Sprintf(" %q %d %q", l.Model, l.NumCtx, l.Others)
		}
		all = append(all, text)
	}
	slices.Sort(all) // claims come in another order each time
	return strings.Join(all, "\n")
}

// ShareHosts divides the slots of a pool's hosts with the other replicas, until ctx ends.
func (c *Client) ShareHosts(ctx context.Context, p *pool.Pool) {
	s := &sharing{Client: c, pool: p, unused: make(map[string]bool)}
	s.alone(p.Claims(), 0) // until it is known what the others have, or that it cannot be
	ticker := time.NewTicker(hurryInterval)
	defer ticker.Stop()
	for renewed := (time.Time{}); ; {
		if now := time.Now(); now.Sub(renewed) >= shareInterval || now.Sub(renewed) >= s.pause() && s.hurries() {
			switch {
			case s.renew(now):
				renewed = now
			case c.wasTried():
				s.alone(p.Claims(), c.Replicas())
				renewed = now
			}
		}
		short := p.Short()
		if s.leases == nil || s.needs {
			short = nil // another call that waits is no news
		}
		select {
		case <-ticker.C:
		case <-short:
			time.Sleep(s.pause() - time.Since(renewed)) // less than hurryInterval, or a little more
		case <-ctx.Done():
			return
		}
	}
}

// pause is the least time between two renewals.
func (s *sharing) pause() time.Duration {
	return scriptTime * time.Duration(len(s.leases)*s.Replicas())
}

// wasTried reports whether it is known if the server can be reached.
func (c *Client) wasTried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reached
}

// alone has this replica use its part of each host without asking: one of so many, or, for 0, nothing.
func (s *sharing) alone(claims []*pool.Claim, replicas int) {
	s.leases, s.parts = nil, make(map[string]pool.Part)
	for _, claim := range claims {
		switch replicas {
		case 0:
			s.parts[claim.Host] = pool.Part{}
		case 1: // all slots
		default:
			s.parts[claim.Host] = pool.Part{Slots: max(1, claim.Slots/replicas)}
		}
	}
	s.pool.Divide(s.parts)
}

// hurries reports whether leases should be renewed at once: calls wait, or slots are idle that are not for
// calls to come, or that another replica lacks, or there is something to tell.
func (s *sharing) hurries() bool {
	if s.leases == nil {
		return false
	}
	idle, claims := 0, s.pool.Claims()
	if urgent(claims) != s.urgent {
		return true
	}
	for _, claim := range claims {
		if claim.Waits > 0 {
			return true
		}
		idle += max(0, s.leases[claim.Host]-claim.Calls())
	}
	return idle > s.spare || idle > 0 && s.anotherLacks()
}

// anotherLacks reports whether another replica has calls that wait, and found no slot for them.
func (s *sharing) anotherLacks() bool {
	results, ok := s.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("GET").Keys(s.keyOfLack()).Build()}
	})
	if !ok {
		return false
	}
	id, err := results[0].ToString()
	return err == nil && id != s.id
}

// renew renews the leases of all hosts. It is not ok if the server cannot be asked.
func (s *sharing) renew(now time.Time) (ok bool) {
	if !s.usable.Load() {
		return false
	}
	s.returnIdle()
	claims := s.pool.Claims()
	asked, tells := s.arguments(claims), "" // made here, since commands that fail may be built later
	urgent := urgent(claims)
	if now.Sub(s.told) >= shareInterval || urgent != s.urgent {
		tells = s.encodeNews(newsOf(claims))
	}
	results, ok := s.do(context.Background(), func(b rueidis.Builder) (all rueidis.Commands) {
		all = append(all, b.Arbitrary("EVAL").Args(leaseScript, "2").Keys(s.keyOfSlots(), s.keyOfLack()).Args(asked...).Build())
		if tells != "" {
			all = append(all, b.Arbitrary("HSET").Keys(s.keyOfNews()).Args(s.id, tells).Build(), b.Arbitrary("HGETALL").Keys(s.keyOfNews()).Build())
		}
		return all
	})
	if !ok {
		return false
	}
	if tells != "" {
		s.hear(results[2])
		s.told, s.urgent, s.unused = now, urgent, make(map[string]bool)
	}
	err := refusal(results[0])
	if err == nil {
		err = s.readLeases(claims, results[0])
	}
	if err != nil {
		s.noteRefused(s.keyOfSlots(), err)
		return false
	}
	s.unlimited.Store(nil) // scripts are run
	s.pool.Divide(s.parts)
	return true
}

func (c *Client) keyOfSlots() string { return c.keyOfLimit("hosts", "slots") }
func (c *Client) keyOfLack() string  { return c.keyOfSlots() + ":lack" }
func (c *Client) keyOfNews() string  { return c.keyOfLimit("hosts", "news") }

// returnIdle has the pool stop to use the slots that are idle, so that they can be given back. It notes which
// of them the pool does not use although calls wait: it expects to serve these sooner elsewhere.
func (s *sharing) returnIdle() {
	for _, claim := range s.pool.Claims() {
		part, ok := s.parts[claim.Host]
		if calls := claim.Calls(); ok && part.Slots > calls {
			s.unused[claim.Host] = claim.Waits > 0
			part.Slots = calls
			s.parts[claim.Host] = part
		}
	}
	s.pool.Divide(s.parts)
}

// arguments are those with which slots are asked for. Hosts that serve no call which waits are brought into
// an order of this replica's own, so that slots for calls to come are not all on the same hosts. So is
// which host is to have a slot for which call, if more are wanted than there are.
func (s *sharing) arguments(claims []*pool.Claim) []string {
	serves := func(claim *pool.Claim) bool { return claim.Waits > 0 && !s.unused[claim.Host] }
	place := make(map[string]uint64, len(claims))
	ready, serving, waits := 0, 0, 0.0
	for _, claim := range claims {
		place[claim.Host] = s.place(claim.Host)
		waits += claim.Waits
		if serves(claim) {
			serving++
			if !claim.Loads {
				ready++
			}
		}
	}
	byPlace := func(a, b *pool.Claim) int { return cmp.Compare(place[a.Host], place[b.Host]) }
	slices.SortStableFunc(claims, func(a, b *pool.Claim) int {
		switch x, y := serves(a), serves(b); {
		case x && y: // as the pool has them
			return 0
		case x:
			return -1
		case y:
			return 1
		}
		return byPlace(a, b)
	})
	more, due := make(map[string]int), 0.5
	for _, claim := range slices.SortedFunc(slices.Values(claims[:serving]), byPlace) {
		due += claim.Waits
		more[claim.Host] = int(due)
		due -= float64(more[claim.Host])
	}
	args := []string{s.id, milliseconds(leaseTime), strconv.Itoa(int(math.Round(waits))), strconv.Itoa(ready), strconv.Itoa(serving)}
	for _, claim := range claims {
		calls := claim.Calls()
		keeps := max(calls, s.parts[claim.Host].Slots)
		args = append(args, url.QueryEscape(s.sealer.name(claim.Host)), strconv.Itoa(keeps), strconv.Itoa(calls+more[claim.Host]), strconv.Itoa(claim.Slots))
	}
	return args
}

// place is where a host comes in the order of this replica.
func (s *sharing) place(host string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, host+" "+s.id)
	return h.Sum64()
}

// readLeases reads what the server has granted.
func (s *sharing) readLeases(claims []*pool.Claim, result rueidis.RedisResult) error {
	list, err := result.AsIntSlice()
	if err != nil {
		return err
	}
	if len(list) != 1+2*len(claims) {
		return errors.New("the result of a script has another length than expected")
	}
	waits, got := 0.0, 0
	s.leases, s.parts, s.spare = make(map[string]int), make(map[string]pool.Part), int(list[0])
	for i, claim := range claims {
		granted, may := int(list[1+2*i]), int(list[2+2*i])
		part := s.heard[claim.Host]
		part.Loading, part.Loaded = aged(part.Loading, time.Since(s.told)), aged(part.Loaded, time.Since(s.told))
		part.Slots = max(0, min(granted, may))
		s.leases[claim.Host], s.parts[claim.Host] = granted, part
		waits, got = waits+claim.Waits, got+part.Slots-claim.Calls()
	}
	s.needs = float64(got) < waits-0.5
	return nil
}

// aged are loads of which was heard a while ago.
func aged(loads []pool.Load, ago time.Duration) []pool.Load {
	loads = slices.Clone(loads)
	for i := range loads {
		loads[i].Age += ago
	}
	return loads
}

// newsOf is what this replica tells of hosts.
func newsOf(claims []*pool.Claim) map[string]news {
	all := make(map[string]news)
	for _, claim := range claims {
		if len(claim.Busy) > 0 || claim.Learned != nil || claim.Ill != "" || len(claim.Loading)+len(claim.Loaded) > 0 {
			all[claim.Host] = news{claim.Busy, claim.Learned, claim.Ill, tellLoads(claim.Loading), tellLoads(claim.Loaded)}
		}
	}
	return all
}

// hear takes over what the other replicas tell of hosts.
func (s *sharing) hear(result rueidis.RedisResult) {
	told, err := result.AsStrMap()
	if err != nil {
		s.noteUnreadable(s.keyOfNews(), err)
		return
	}
	s.heard = make(map[string]pool.Part)
	for id, text := range told {
		if id == s.id || !s.isBeating(id) {
			continue
		}
		for host, n := range s.decodeNews(text) {
			part, ok := s.heard[host]
			if !ok {
				part = pool.Part{Elsewhere: make(map[string]int), Learned: make(map[string]int)}
			}
			for model, calls := range n.Busy {
				part.Elsewhere[model] += max(0, calls)
			}
			for model, slots := range n.Learned {
				part.Learned[model] = max(part.Learned[model], slots)
			}
			part.Ill = cmp.Or(part.Ill, n.Ill)
			part.Loading = append(part.Loading, hearLoads(n.Loading)...)
			part.Loaded = append(part.Loaded, hearLoads(n.Loaded)...)
			s.heard[host] = part
		}
	}
}

// encodeNews makes a record of what is told of hosts, sealed if there is a key; of nothing if there is too
// much.
func (c *Client) encodeNews(all map[string]news) string {
	for {
		text, _ := json.Marshal(all) // cannot fail
		record, err := c.sealer.encode(c.keyOfNews(), header{}, text)
		if err == nil {
			return string(record)
		}
		clear(all)
	}
}

// decodeNews reads what another replica tells of hosts; nothing if it makes no sense.
func (c *Client) decodeNews(record string) (all map[string]news) {
	if _, data, err := c.sealer.decode(c.keyOfNews(), []byte(record)); err == nil {
		_ = json.Unmarshal(data, &all) // what another version has added is left out
	}
	return all
}
