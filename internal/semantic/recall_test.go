//go:build !race

package semantic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const dimensions = 768

// clouds are the ways in which the vectors of questions may lie.
var clouds = []struct {
	name string
	// draw makes n vectors around the offset they share.
	draw func(rnd *rand.Rand, n int) [][]float32
}{
	{"isotropic", func(rnd *rand.Rand, n int) [][]float32 {
		return scattered(rnd, n, make([]float32, dimensions))
	}},
	{"clustered", func(rnd *rand.Rand, n int) [][]float32 {
		return clustered(rnd, n, make([]float32, dimensions))
	}},
	{"with a shared offset", func(rnd *rand.Rand, n int) [][]float32 {
		return clustered(rnd, n, scale(gaussian(rnd), 2)) // most pairs are at a cosine near 0.8
	}},
	{"with a few large dimensions", func(rnd *rand.Rand, n int) [][]float32 {
		offset := make([]float32, dimensions)
		for range 5 {
			offset[rnd.IntN(dimensions)] = 20
		}
		return clustered(rnd, n, offset)
	}},
	{"alike in all but the last dimensions", func(rnd *rand.Rand, n int) [][]float32 {
		vectors := clustered(rnd, n, make([]float32, dimensions))
		for _, v := range vectors {
			copy(v, make([]float32, dimensions/2))
		}
		return vectors
	}},
}

func gaussian(rnd *rand.Rand) []float32 {
	v := make([]float32, dimensions)
	for i := range v {
		v[i] = float32(rnd.NormFloat64())
	}
	return v
}

func scale(v []float32, by float32) []float32 {
	for i := range v {
		v[i] *= by
	}
	return v
}

// near is a vector about as far from v as a Gaussian one is long, times spread.
func near(rnd *rand.Rand, v []float32, spread float32) []float32 {
	out := scale(gaussian(rnd), spread)
	for i, f := range v {
		out[i] += f
	}
	return out
}

func scattered(rnd *rand.Rand, n int, offset []float32) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = near(rnd, offset, 1)
	}
	return out
}

// clustered are vectors of which a hundred each are about one thing: more than are
// compared exactly.
func clustered(rnd *rand.Rand, n int, offset []float32) [][]float32 {
	topics := scattered(rnd, n/100+1, offset)
	out := make([][]float32, n)
	for i := range out {
		out[i] = near(rnd, topics[rnd.IntN(len(topics))], 0.5)
	}
	return out
}

func TestSignCodesFindWhatAnExactScanFinds(t *testing.T) {
	for _, cloud := range clouds {
		t.Run(cloud.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			vectors := cloud.draw(rnd, 1000)
			x, units := indexOf(t, vectors)
			if found := recall(x, units, rnd, 40); found < 1 {
				t.Errorf("found %v of the best matches, want all", found)
			}
		})
	}
}

func TestCodesAreRelativeToTheMeanOfAllVectors(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	offset := scale(gaussian(rnd), 2)
	x, units := indexOf(t, scattered(rnd, 500, offset))
	mean, spread := make([]float64, dimensions), 0.0
	for _, v := range units {
		for i, f := range v {
			mean[i] += float64(f) / float64(len(units))
		}
	}
	for i := range mean {
		for _, v := range units {
			spread += (float64(v[i]) - mean[i]) * (float64(v[i]) - mean[i]) / float64(len(units))
		}
	}
	apart := 0.0
	for i, f := range x.space(Namespace{}).view.Load().centre {
		apart += (float64(f) - mean[i]) * (float64(f) - mean[i])
	}
	if math.Sqrt(apart) > 0.11*math.Sqrt(spread) {
		t.Errorf("the centre is %.3f from the mean of vectors that are spread over %.3f, want a tenth of that", math.Sqrt(apart), math.Sqrt(spread))
	}
}

func TestRowsAreFoundByTheirCodesWhenOthersAreDeleted(t *testing.T) {
	const all, deleted = 1500, 500 // in whose place the last ones are put
	rnd := rand.New(rand.NewPCG(1, 2))
	x, units := indexOf(t, scattered(rnd, all, make([]float32, dimensions)))
	for key := range deleted {
		x.Delete(key)
	}
	for range 40 {
		query := question(rnd, units[deleted:])
		got, want := x.Nearest(Namespace{}, query, 1), deleted+exact(units[deleted:], query)
		if len(got) != 1 || got[0].Key != want {
			t.Errorf("got %+v, want number %d", got, want)
		}
	}
}

// recall is the share of n questions, each near an entry, for which the index finds
// the same entry as a scan of all.
func recall(x *Index[int], units [][]float32, rnd *rand.Rand, n int) float64 {
	same := 0
	for range n {
		query := question(rnd, units)
		if got := x.Nearest(Namespace{}, query, 1); len(got) == 1 && got[0].Key == exact(units, query) {
			same++
		}
	}
	return float64(same) / float64(n)
}

// question is a vector at a cosine of about 0.93 from one of some unit vectors.
func question(rnd *rand.Rand, units [][]float32) []float32 {
	return near(rnd, units[rnd.IntN(len(units))], 0.4/float32(math.Sqrt(dimensions)))
}

func indexOf(t testing.TB, vectors [][]float32) (*Index[int], [][]float32) {
	t.Helper()
	x, err := New[int](Options{Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	units := make([][]float32, len(vectors))
	for i, v := range vectors {
		if err := x.Add(Namespace{}, v, Entry[int]{Key: i}); err != nil {
			t.Fatal(err)
		}
		units[i], _ = normalise(v)
	}
	return x, units
}

// exact is the position of the unit vector that is most similar to a query.
func exact(units [][]float32, query []float32) int {
	unit, _ := normalise(query)
	best, similarity := -1, float32(math.Inf(-1))
	for i, v := range units {
		if s := dot(unit, v); s > similarity {
			best, similarity = i, s
		}
	}
	return best
}

// BenchmarkNearest compares a look-up with an exact scan of the same vectors. It
// reports the median time of a look-up, and the share of questions for which both
// find the same entry.
func BenchmarkNearest(b *testing.B) {
	for _, cloud := range clouds {
		for _, n := range []int{1_000, 10_000, 100_000} {
			rnd := rand.New(rand.NewPCG(1, 2))
			x, units := indexOf(b, cloud.draw(rnd, n))
			queries := make([][]float32, 64)
			for i := range queries {
				queries[i] = question(rnd, units)
			}
			name := fmt.Sprintf("%s/%d", cloud.name, n)
			b.Run(name+"/exact", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					exact(units, queries[i%len(queries)])
				}
			})
			b.Run(name+"/codes", func(b *testing.B) {
				var took []time.Duration
				for i := 0; b.Loop(); i++ {
					start := time.Now()
					x.Nearest(Namespace{}, queries[i%len(queries)], Considered)
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
				b.ReportMetric(recall(x, units, rnd, 200), "recall@1")
			})
		}
	}
}
