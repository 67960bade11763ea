package fleet

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

var errNoAddress = errors.New("no address behind the name")

// run looks up the name of a group again and again: once at the start, and from then on
// while there are calls.
func (g *group) run(ctx context.Context) {
	f := g.fleet
	f.mu.Lock()
	name := g.spec.Name
	f.mu.Unlock()
	failing := false
	for {
		addrs, err := g.lookup(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing { // logged once, until it works again
			g.fleet.opts.Log.Warn("cannot look up hosts; the known ones stay", "host", name, "error", err)
		}
		failing = err != nil
		g.found(addrs)
		wait := g.fleet.opts.LookupEvery
		if failing {
			wait = min(wait, pollInterval)
		}
		if !sleep(ctx, jitter(wait)) || !g.fleet.use.wait(ctx) {
			return
		}
	}
}

// close does nothing, since each host of a group is a task of its own.
func (g *group) close() {}

func (g *group) lookup(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	addrs, err := g.fleet.opts.Resolve(ctx, g.name)
	if err != nil {
		return nil, err
	}
	if addrs = oneFamily(addrs); len(addrs) == 0 {
		return nil, errNoAddress
	}
	return addrs, nil
}

// oneFamily returns the IPv4 or the IPv6 addresses, whichever are more: a machine that has
// both would be taken for two hosts.
func oneFamily(addrs []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.Is4() {
			v4 = append(v4, addr)
		} else if addr.IsValid() {
			v6 = append(v6, addr)
		}
	}
	if len(v6) > len(v4) {
		return v6
	}
	return v4
}

// found makes the hosts at these addresses those of the group. If there are none, as when
// the lookup failed, the known hosts stay: trouble with a name server is no reason to stop
// calling hosts that work.
func (g *group) found(addrs []netip.Addr) {
	for _, c := range g.replace(addrs) {
		log := g.fleet.opts.Log.With("host", c.host)
		switch {
		case c.err != nil:
			log.Warn("cannot use host", "error", c.err)
		case c.gone:
			log.Info("host has gone")
		default:
			log.Info("host found")
		}
	}
}

// change is what a lookup changed about one host. It is logged when no lock is held: the
// reader of the log may be slow, or read nothing at all.
type change struct {
	host string
	err  error // why the host cannot be opened; it is tried again after the next lookup
	gone bool
}

func (g *group) replace(addrs []netip.Addr) (changes []change) {
	f := g.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, wanted := f.tasks[g]; !wanted {
		return nil
	}
	for _, addr := range addrs {
		if g.members[addr] != nil {
			continue
		}
		err := g.open(addr)
		changes = append(changes, change{host: g.spec.at(addr).Name, err: err})
		if err == nil {
			f.add(g.members[addr], nil)
		}
	}
	for addr, m := range g.members {
		if len(addrs) > 0 && !slices.Contains(addrs, addr) {
			changes = append(changes, change{host: m.name, gone: true})
			delete(g.members, addr)
			f.remove(m)
		}
	}
	f.tasks[g] = true
	f.publish(true)
	f.tell()
	return changes
}
