// Package order sorts slices of structs without code of their own for each type.
//
// It promises what slices.SortStableFunc promises, which the compiler makes anew for each type of
// elements, 4 to 8 KB each time. Sorting is done on pointers here, for all of which there is one copy,
// at the price of a copy of the slice: not for what is sorted in each call.
package order

import "slices"

// Stable sorts all, and leaves elements that compare as equal in the order in which they are.
func Stable[T any](all []T, compare func(a, b T) int) {
	copied := slices.Clone(all)
	sorted := make([]*T, len(all))
	for i := range copied {
		sorted[i] = &copied[i]
	}
	slices.SortStableFunc(sorted, func(a, b *T) int { return compare(*a, *b) })
	for i, one := range sorted {
		all[i] = *one
	}
}
