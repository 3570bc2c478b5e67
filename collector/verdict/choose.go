package verdict

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A group is classes and candidates that have to do with one another, and with nothing else.
type group struct {
	cands   []int32
	classes []*class
}

// choose finds the cheapest set of candidates for every group, and tells each class which of them explains it.
func (l *locator) choose(classes []class) (chosen []int32) {
	l.loc.Bound = 1
	for _, g := range groups(classes) {
		g.cands = l.undominated(g)
		var set []int32
		if len(g.cands) <= exactMost {
			set = l.exact(g)
		} else {
			var bound float64
			set, bound = l.greedy(g)
			l.loc.Bound = max(l.loc.Bound, bound)
		}
		l.assign(g, set)
		chosen = append(chosen, set...)
	}
	return chosen
}

// groups parts the classes, by union and find over their candidates. What no candidate explains is in none.
func groups(classes []class) []group {
	parent := map[int32]int32{}
	var find func(c int32) int32
	find = func(c int32) int32 {
		p, ok := parent[c]
		if !ok || p == c {
			parent[c] = c
			return c
		}
		parent[c] = find(p)
		return parent[c]
	}
	for i := range classes {
		for _, c := range classes[i].cands {
			parent[find(c)] = find(classes[i].cands[0])
		}
	}
	at := map[int32]int{}
	var out []group
	for i := range classes {
		if len(classes[i].cands) == 0 {
			continue
		}
		root := find(classes[i].cands[0])
		k, ok := at[root]
		if !ok {
			k = len(out)
			at[root] = k
			out = append(out, group{})
		}
		out[k].classes = append(out[k].classes, &classes[i])
		for _, c := range classes[i].cands {
			if !slices.Contains(out[k].cands, c) {
				out[k].cands = append(out[k].cands, c)
			}
		}
	}
	return out
}

// prior is what it costs to blame a component: its own prior, what says otherwise, and how odd the reasons are for it.
// Failures of one cause show one reason, so that a reason is hardly odder when many units see it: that cost grows with the
// logarithm of their number, to fourfold.
func (l *locator) prior(c int32) float64 {
	success := successCost
	if l.active[c] {
		success = successActive
	}
	n := float64(max(1, l.fails[c]))
	return l.traits[l.r.list[c].Kind].prior + success*float64(l.ups[c]) + l.odd[c]/n*min(4, 1+math.Log(n))
}

// undominated leaves a candidate out when another one explains all that it explains, each of it as well, and is not dearer.
func (l *locator) undominated(g group) []int32 {
	covers := map[int32]map[int]bool{}
	for k, cl := range g.classes {
		for _, c := range cl.cands {
			if covers[c] == nil {
				covers[c] = map[int]bool{}
			}
			covers[c][k] = true
		}
	}
	dominates := func(a, b int32) bool {
		for k := range covers[b] {
			if !covers[a][k] || l.costs[a][g.classes[k].layer] > l.costs[b][g.classes[k].layer] {
				return false
			}
		}
		pa, pb := l.prior(a), l.prior(b)
		return pa < pb || pa == pb && a < b
	}
	if len(g.cands) > 200 { // the greedy choice needs no such help
		return g.cands
	}
	return slices.DeleteFunc(slices.Clone(g.cands), func(b int32) bool {
		return slices.ContainsFunc(g.cands, func(a int32) bool { return a != b && dominates(a, b) })
	})
}

// least returns what a class costs when the set is blamed, and which of the set explains it; -1 when none does.
func (l *locator) least(cl *class, in func(c int32) bool) (float64, int32) {
	best, by := cl.noise(), int32(-1)
	for _, c := range cl.cands {
		if !in(c) {
			continue
		}
		if n := l.shown(cl, c); n < best || n == best && by >= 0 && c < by {
			best, by = n, c
		}
	}
	return best, by
}

// noise is what a class costs that nothing blamed explains: its failures have then nothing to do with one another.
func (cl *class) noise() float64 { return cl.layer.noise() * float64(len(cl.votes)) }

// shown is what a class costs that a component explains: next to nothing, so that of two that are blamed anyway the one
// explains it that the reason fits better.
func (l *locator) shown(cl *class, c int32) float64 {
	return oddShare * l.costs[c][cl.layer] * float64(len(cl.votes))
}

// exact looks at every set. Of equal ones the first wins, in the order of the candidates.
func (l *locator) exact(g group) []int32 {
	slices.Sort(g.cands)
	bit := map[int32]uint{}
	for i, c := range g.cands {
		bit[c] = uint(i)
	}
	priors := make([]float64, len(g.cands))
	for i, c := range g.cands {
		priors[i] = l.prior(c)
	}
	best, cheapest := uint(0), math.Inf(1)
	for set := range uint(1) << len(g.cands) {
		sum := 0.0
		for i := range g.cands {
			if set&(1<<i) != 0 {
				sum += priors[i]
			}
		}
		for _, cl := range g.classes {
			if sum >= cheapest {
				break
			}
			n, _ := l.least(cl, func(c int32) bool { i, ok := bit[c]; return ok && set&(1<<i) != 0 })
			sum += n
		}
		if sum < cheapest-1e-9 {
			best, cheapest = set, sum
		}
	}
	var out []int32
	for i, c := range g.cands {
		if best&(1<<i) != 0 {
			out = append(out, c)
		}
	}
	return out
}

// greedy takes, as long as it makes the whole cheaper, the candidate that saves most, and then gives back those that the
// later ones have made needless. The bound is that of Chvátal for weighted set cover: the harmonic number of the most
// failures that one candidate explains.
func (l *locator) greedy(g group) (set []int32, bound float64) {
	at := map[int32][]*class{}
	for _, cl := range g.classes {
		for _, c := range cl.cands {
			at[c] = append(at[c], cl)
		}
	}
	now := map[*class]float64{}
	for _, cl := range g.classes {
		now[cl] = cl.noise()
	}
	saves := func(c int32) float64 {
		sum := -l.prior(c)
		for _, cl := range at[c] {
			sum += max(0, now[cl]-l.shown(cl, c))
		}
		return sum
	}
	type entry struct {
		c    int32
		gain float64
	}
	heap := make([]entry, 0, len(g.cands)) // sorted from worst to best; savings only ever shrink, so the last is looked at first
	most := 0
	for _, c := range g.cands {
		heap = append(heap, entry{c, saves(c)})
		n := 0
		for _, cl := range at[c] {
			n += len(cl.votes)
		}
		most = max(most, n)
	}
	by := func(a, b entry) int { return cmp.Or(cmp.Compare(a.gain, b.gain), cmp.Compare(b.c, a.c)) }
	slices.SortFunc(heap, by)
	for len(heap) > 0 {
		e := heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		if e.gain <= 0 {
			break
		}
		if g := saves(e.c); g < e.gain-1e-9 { // it has shrunk: back to its place
			e.gain = g
			i, _ := slices.BinarySearchFunc(heap, e, by)
			heap = slices.Insert(heap, i, e)
			continue
		}
		set = append(set, e.c)
		for _, cl := range at[e.c] {
			now[cl] = min(now[cl], l.shown(cl, e.c))
		}
	}
	set = l.improve(set, at)
	for k := 1; k <= most; k++ {
		bound += 1 / float64(k)
	}
	return set, bound
}

// passes is how often a greedy choice is gone over.
const passes = 3

// improve gives back what others have made needless since it was taken, and takes in its place what is cheaper.
func (l *locator) improve(set []int32, at map[int32][]*class) []int32 {
	in := map[int32]bool{}
	for _, c := range set {
		in[c] = true
	}
	for range passes {
		changed := false
		for _, c := range slices.Sorted(maps.Keys(in)) {
			delete(in, c)
			best, cheapest := int32(-1), l.lost(at[c], in, -1)
			options := []int32{c}
			if main := l.mostLost(at[c], in); main != nil {
				options = main.cands
			}
			for _, x := range options {
				if in[x] {
					continue
				}
				if cost := l.prior(x) + l.lost(at[c], in, x); cost < cheapest-1e-9 || cost < cheapest+1e-9 && x == c {
					best, cheapest = x, cost
				}
			}
			if best >= 0 {
				in[best] = true
			}
			changed = changed || best != c
		}
		if !changed {
			break
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// lost is what classes cost with the set and one more.
func (l *locator) lost(classes []*class, in map[int32]bool, more int32) (sum float64) {
	for _, cl := range classes {
		n, _ := l.least(cl, func(x int32) bool { return in[x] || x == more })
		sum += n
	}
	return sum
}

// mostLost returns the class that costs most without any of the set; nil when none is without.
func (l *locator) mostLost(classes []*class, in map[int32]bool) (worst *class) {
	for _, cl := range classes {
		if _, by := l.least(cl, func(x int32) bool { return in[x] }); by < 0 && (worst == nil || len(cl.votes) > len(worst.votes)) {
			worst = cl
		}
	}
	return worst
}

// assign tells every class what explains it.
func (l *locator) assign(g group, set []int32) {
	for _, cl := range g.classes {
		_, cl.by = l.least(cl, func(c int32) bool { return slices.Contains(set, c) })
	}
}
