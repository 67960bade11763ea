package redis

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/pool"
)

// The slots of a host are leased to the replicas. Each has a field in the hash of the host, with
// how many it was granted and until when, and gives back what it is to have less before it says
// so: no two replicas ever use the same slot while the server answers.

// leaseScript grants slots of a host. They go round those that want one, and first to those that have
// had none for longest; what is left is divided evenly, for calls that come before the next renewal,
// if there is one for each.
//
// Arguments: replica, how many slots it keeps at least, how many it wants, how many the host has
// as far as it knows, the time in ms until it has to renew the lease, and what it tells the others.
// Results: how many slots it may use, how many are its fair share, and what the others tell.
const leaseScript = `
local key, own = KEYS[1], ARGV[1]
local keeps, wants, slots, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local names, wanted, served, taken, news = {own}, {[own] = wants}, {[own] = 0}, 0, {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local name = all[i]
  local granted, w, s, ends, last, tells = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  if not ends or tonumber(ends) <= now or tonumber(ends) > now + 10 * lease then
    redis.call('HDEL', key, name)
  elseif name == own then
    served[own] = tonumber(last)
  else
    names[#names + 1] = name
    wanted[name], served[name] = tonumber(w), tonumber(last)
    taken, slots = taken + tonumber(granted), math.max(slots, tonumber(s))
    news[#news + 1] = tells
  end
end
table.sort(names, function(a, b)
  if served[a] ~= served[b] then return served[a] < served[b] end
  return a < b
end)
local share, left, given = {}, slots, true
for _, name in ipairs(names) do share[name] = 0 end
while left > 0 and given do
  given = false
  for _, name in ipairs(names) do
    if left > 0 and share[name] < wanted[name] then
      share[name], left, given = share[name] + 1, left - 1, true
    end
  end
end
local mine = share[own] + math.floor(left / #names)
local granted = math.max(keeps, math.min(mine, slots - taken))
if granted > 0 then served[own] = now end
redis.call('HSET', key, own, string.format('%.0f %.0f %s %.0f %.0f %s', granted, wants, ARGV[4], now + lease, served[own], ARGV[6]))
redis.call('PEXPIRE', key, string.format('%.0f', 10 * lease))
return {granted, mine, unpack(news)}`

const (
	// shareInterval is how often leases are renewed, and hurryInterval how often it is looked
	// whether that should be done at once.
	shareInterval = time.Second
	hurryInterval = 50 * time.Millisecond
)

// sharing is the division of the hosts of a pool between replicas.
type sharing struct {
	*Client
	pool   *pool.Pool
	leases map[string]hostLease // by host; none while the server cannot be asked
	parts  map[string]pool.Part // what the pool goes by
}

// hostLease is what the server has said of a host.
type hostLease struct {
	slots int    // that this replica was granted
	share int    // that are its fair share; it uses no more, and gives back the others as calls end
	wants int    // that it wanted
	told  string // what others were told at the time that they want to hear at once; see urgent
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

// urgent is what others want to hear of a host at once when it changes: whether it is ill, and which
// models it is loading.
func urgent(claim pool.Claim) string {
	var b strings.Builder
	fmt.Fprint(&b, claim.Ill != "")
	for _, l := range claim.Loading {
		fmt.Fprintf(&b, " %q %d %q", l.Model, l.NumCtx, l.Others)
	}
	return b.String()
}

// ShareHosts divides the slots of a pool's hosts with the other replicas, until ctx ends.
func (c *Client) ShareHosts(ctx context.Context, p *pool.Pool) {
	s := &sharing{Client: c, pool: p}
	s.alone(p.Claims(), 0) // until it is known what the others have, or that it cannot be
	ticker := time.NewTicker(hurryInterval)
	defer ticker.Stop()
	for renewed := (time.Time{}); ; {
		if now := time.Now(); now.Sub(renewed) >= shareInterval || s.hurries() {
			switch {
			case s.renew():
				renewed = now
			case c.wasTried():
				s.alone(p.Claims(), c.Replicas())
				renewed = now
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// wasTried reports whether it is known if the server can be reached.
func (c *Client) wasTried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reached
}

// alone has this replica use its part of each host without asking: one of so many, or, for 0, nothing.
func (s *sharing) alone(claims []pool.Claim, replicas int) {
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

// hurries reports whether leases should be renewed at once: this replica has slots that others
// want, or calls that wait and no slot for them, or something to tell.
func (s *sharing) hurries() bool {
	if s.leases == nil {
		return false
	}
	waits, starves := false, true
	for _, claim := range s.pool.Claims() {
		l, busy := s.leases[claim.Host], calls(claim)
		if l.share < l.slots && busy < l.slots || l.wants <= l.slots && claim.Wants > l.slots && busy >= l.slots {
			return true
		}
		if l.told != urgent(claim) {
			return true
		}
		if claim.Wants > 0 {
			waits, starves = true, starves && l.slots == 0
		}
	}
	return waits && starves
}

// calls is how many calls of this replica are on a host.
func calls(claim pool.Claim) (n int) {
	for _, busy := range claim.Busy {
		n += busy
	}
	return n
}

// renew renews the leases of all hosts. It is not ok if the server cannot be asked.
func (s *sharing) renew() (ok bool) {
	if !s.usable.Load() {
		return false
	}
	claims := s.pool.Claims()
	asked := make([][]string, len(claims)) // made here, since commands that fail may be built later
	for i, claim := range claims {
		asked[i] = s.arguments(claim)
	}
	results, ok := s.do(context.Background(), func(b rueidis.Builder) (all rueidis.Commands) {
		for i, claim := range claims {
			all = append(all, b.Arbitrary("EVAL").Args(leaseScript, "1").Keys(s.keyOfHost(claim.Host)).Args(asked[i]...).Build())
		}
		return all
	})
	if !ok {
		return false
	}
	leases, parts := make(map[string]hostLease), make(map[string]pool.Part)
	for i, claim := range claims {
		err := refusal(results[i])
		if err == nil {
			leases[claim.Host], parts[claim.Host], err = s.readLease(claim, results[i])
		}
		if err != nil {
			s.noteRefused(s.keyOfHost(claim.Host), err)
			return false
		}
	}
	s.leases, s.parts = leases, parts
	s.unlimited.Store(nil) // scripts are run
	s.pool.Divide(parts)
	return true
}

func (c *Client) keyOfHost(name string) string { return c.keyOfLimit("slots", name) }

// arguments are those with which slots of a host are asked for.
func (s *sharing) arguments(claim pool.Claim) []string {
	keeps := calls(claim)
	if s.leases != nil {
		keeps = max(keeps, s.parts[claim.Host].Slots)
	}
	tells := s.encodeNews(claim.Host, news{claim.Busy, claim.Learned, claim.Ill, tellLoads(claim.Loading), tellLoads(claim.Loaded)})
	return []string{s.id, strconv.Itoa(keeps), strconv.Itoa(claim.Wants), strconv.Itoa(claim.Slots), milliseconds(leaseTime), tells}
}

// encodeNews makes a text of what is told of a host, sealed if there is a key; "" if there is too much.
func (c *Client) encodeNews(host string, n news) string {
	text, _ := json.Marshal(n) // cannot fail
	record, err := c.sealer.encode(c.keyOfHost(host), header{}, text)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(record)
}

// decodeNews reads what another replica tells of a host; nothing if it makes no sense.
func (c *Client) decodeNews(host, text string) (n news) {
	record, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return n
	}
	if _, data, err := c.sealer.decode(c.keyOfHost(host), record); err == nil {
		_ = json.Unmarshal(data, &n) // what another version has added is left out
	}
	return n
}

// readLease reads what the server says of a host.
func (c *Client) readLease(claim pool.Claim, result rueidis.RedisResult) (l hostLease, part pool.Part, err error) {
	list, err := result.ToArray()
	if err != nil {
		return l, part, err
	}
	if len(list) < 2 {
		return l, part, errors.New("the result of a script is too short")
	}
	granted, err := list[0].AsInt64()
	if err != nil {
		return l, part, err
	}
	share, err := list[1].AsInt64()
	if err != nil {
		return l, part, err
	}
	l = hostLease{int(granted), int(share), claim.Wants, urgent(claim)}
	part = pool.Part{Slots: min(l.slots, l.share), Elsewhere: make(map[string]int), Learned: make(map[string]int)}
	for _, m := range list[2:] {
		text, _ := m.ToString()
		n := c.decodeNews(claim.Host, text)
		for model, calls := range n.Busy {
			part.Elsewhere[model] += max(0, calls)
		}
		for model, slots := range n.Learned {
			part.Learned[model] = max(part.Learned[model], slots)
		}
		part.Ill = cmp.Or(part.Ill, n.Ill)
		part.Loading = append(part.Loading, hearLoads(n.Loading)...)
		part.Loaded = append(part.Loaded, hearLoads(n.Loaded)...)
	}
	return l, part, nil
}
