package backend

// Wrapper is a backend around another one, such as one that counts calls. It embeds
// Backend, and so hides the methods that the inner one has beside those of Backend.
type Wrapper interface {
	Backend
	Unwrap() Backend
}

// As returns the first of b and the backends that it wraps that implements T, an
// optional interface, and whether there is one. A method that is found in a wrapped
// backend passes by its wrappers: one that has to see the calls of such a method
// implements it itself.
func As[T any](b Backend) (T, bool) {
	for {
		if found, ok := b.(T); ok {
			return found, true
		}
		w, ok := b.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		b = w.Unwrap()
	}
}
