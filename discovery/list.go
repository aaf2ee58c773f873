package discovery

import (
	"maps"
	"net/netip"
	"slices"
)

// patience is how many browses in a row something may be missed in before it is
// taken to be gone: an answer is a datagram, and radio loses some.
const patience = 3

// known is an entry, and for how many browses it and each of its addresses have
// not been heard.
type known struct {
	Entry
	missed    int
	addresses []heardAddress
}

type heardAddress struct {
	netip.Addr
	missed int
}

// merge returns what is known after a browse that heard these entries. Whole
// says that the browse heard everybody: else nobody was missed. What is known
// already is never pushed out by what is new.
func merge(before []known, heard []Entry, whole bool) []known {
	after := make([]known, 0, len(before))
	for _, k := range before {
		answers := answersOf(heard, k.Entry)
		switch {
		case len(answers) > 0:
			after = append(after, k.again(answers))
		case !whole:
			after = append(after, k)
		case k.missed+1 < patience:
			k.missed++
			after = append(after, k)
		}
	}
	for _, e := range heard {
		is := func(k known) bool { return compareEntries(k.Entry, e) == 0 }
		if len(after) < maxEntries && !slices.ContainsFunc(after, is) {
			after = append(after, known{}.again(answersOf(heard, e)))
		}
	}
	slices.SortFunc(after, func(a, b known) int { return compareEntries(a.Entry, b.Entry) })
	return after
}

// answersOf returns what was heard of an entry's service, in order.
func answersOf(heard []Entry, of Entry) []Entry {
	var answers []Entry
	for _, e := range heard {
		if compareEntries(e, of) == 0 {
			answers = append(answers, e)
		}
	}
	return answers
}

// again is what is known of an entry after it was heard, once or more. The last
// answer counts; but a machine with two interfaces in one network answers with
// either, so an address is kept until it has been missed in some browses.
func (k known) again(answers []Entry) known {
	last := answers[len(answers)-1]
	var addresses []heardAddress
	add := func(a heardAddress) {
		there := func(b heardAddress) bool { return a.Addr == b.Addr }
		if len(addresses) < maxAddresses && !slices.ContainsFunc(addresses, there) {
			addresses = append(addresses, a)
		}
	}
	for _, answer := range slices.Backward(answers) {
		for _, address := range answer.Addresses {
			add(heardAddress{address, 0})
		}
	}
	for _, old := range k.addresses {
		if old.missed+1 < patience {
			add(heardAddress{old.Addr, old.missed + 1})
		}
	}
	last.Addresses = nil
	for _, a := range addresses {
		last.Addresses = append(last.Addresses, a.Addr)
	}
	return known{Entry: last, addresses: addresses}
}

// entries are copies of what is known, for others.
func entries(all []known) []Entry {
	list := make([]Entry, 0, len(all))
	for _, k := range all {
		list = append(list, k.clone())
	}
	return list
}

// same says that two lists tell the same, whenever it was heard and in whatever
// order the addresses are.
func same(a, b []known) bool {
	return slices.EqualFunc(a, b, func(a, b known) bool {
		return compareEntries(a.Entry, b.Entry) == 0 && a.Port == b.Port && maps.Equal(a.Text, b.Text) &&
			slices.Equal(sorted(a.Addresses), sorted(b.Addresses))
	})
}

func sorted(addresses []netip.Addr) []netip.Addr {
	return slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)
}

// doubtful says that something was missed, so that it is worth asking again
// soon.
func doubtful(all []known) bool {
	return slices.ContainsFunc(all, func(k known) bool { return k.missed > 0 })
}
