package limiter

import "fmt"

type cause int

const (
	nothing cause = iota
	tryMore
	tryFewer
	noBetter
	overloaded
	idle
	wanted
)

// change is the last change of a limit. It becomes words only when asked for.
type change struct {
	from, to int
	cause    cause
}

func (c change) String() string {
	switch c.cause {
	case tryMore:
		return fmt.Sprintf("trying %d instead of %d, to see if more gets done", c.to, c.from)
	case tryFewer:
		return fmt.Sprintf("trying %d instead of %d, to see if as much gets done", c.to, c.from)
	case noBetter:
		return fmt.Sprintf("back to %d, since %d did no better", c.to, c.from)
	case overloaded:
		return fmt.Sprintf("down from %d to %d, since the host refused calls", c.from, c.to)
	case idle:
		return fmt.Sprintf("down from %d to %d, since it was idle", c.from, c.to)
	case wanted:
		return fmt.Sprintf("up from %d to %d as before it was idle, since calls wait", c.from, c.to)
	default:
		return fmt.Sprintf("%d to begin with", c.to)
	}
}
