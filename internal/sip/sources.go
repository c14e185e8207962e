package sip

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
)

const (
	hostTTL     = time.Minute      // how long a trunk host's addresses are believed
	hostRetry   = 5 * time.Second  // and how soon one that could not be resolved is asked for again
	hostTimeout = 10 * time.Second // of one answer
	startWait   = 2 * time.Second  // how long all answers together may hold up the start
)

// sources knows which addresses are a trunk's: its listed prefixes and the addresses of its host. Host
// names are resolved in the background, so that no datagram waits for DNS.
type sources struct {
	trunks func() []call.Trunk

	mu    sync.Mutex
	seen  []call.Trunk // the snapshot rules were made from; compared by identity
	rules []sourceRule // most specific first
	hosts map[string][]netip.Addr
	wake  chan struct{} // capacity 1: a host name is not resolved yet
}

type sourceRule struct {
	prefix netip.Prefix
	trunk  *call.Trunk
}

func newSources(trunks func() []call.Trunk) *sources {
	return &sources{trunks: trunks, hosts: make(map[string][]netip.Addr), wake: make(chan struct{}, 1)}
}

// match is the trunk with the longest prefix that contains src, nil when there is none. Equal prefixes:
// the trunk created first.
func (s *sources) match(src netip.Addr) *call.Trunk {
	trunks := s.trunks()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !sameSlice(trunks, s.seen) || s.rules == nil {
		s.buildLocked(trunks)
	}
	for _, r := range s.rules {
		if r.prefix.Contains(src) {
			return r.trunk
		}
	}
	return nil
}

// all are the trunks that src may be a source of: of each account that has such, the one with the longest prefix,
// and the account that had one first goes first.
func (s *sources) all(src netip.Addr) (list []*call.Trunk) {
	trunks := s.trunks()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !sameSlice(trunks, s.seen) || s.rules == nil {
		s.buildLocked(trunks)
	}
	since := map[string]time.Time{} // by account
	for _, r := range s.rules {
		if !r.prefix.Contains(src) {
			continue
		}
		first, known := since[r.trunk.AccountSID]
		if !known {
			list = append(list, r.trunk)
		}
		if !known || r.trunk.Created.Before(first) {
			since[r.trunk.AccountSID] = r.trunk.Created
		}
	}
	slices.SortStableFunc(list, func(a, b *call.Trunk) int { return since[a.AccountSID].Compare(since[b.AccountSID]) })
	return list
}

// called is the first trunk whose host has that address: the one our calls to it went through.
func (s *sources) called(a netip.Addr) *call.Trunk {
	trunks := s.trunks()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range trunks {
		if trunks[i].Kind == call.Elastic {
			continue
		}
		for _, h := range trunks[i].Hosts() {
			host := hostOnly(h)
			if lit, err := netip.ParseAddr(host); err == nil && lit.Unmap() == a || slices.Contains(s.hosts[host], a) {
				return &trunks[i]
			}
		}
	}
	return nil
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (s *sources) buildLocked(trunks []call.Trunk) {
	s.seen = trunks
	s.rules = make([]sourceRule, 0, 2*len(trunks))
	for i := range trunks {
		t := &trunks[i]
		if t.Kind == call.Elastic {
			continue // a PBX: its calls are not a carrier's, and come in by the trunk's name
		}
		for _, p := range t.Sources {
			if a := p.Addr(); a.Is4In6() {
				if p.Bits() < 96 {
					continue // all of IPv4 and more: nobody means that
				}
				p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
			}
			s.rules = append(s.rules, sourceRule{p.Masked(), t})
		}
		for _, h := range t.Hosts() {
			host := hostOnly(h)
			addrs := s.hosts[host]
			if a, err := netip.ParseAddr(host); err == nil {
				addrs = []netip.Addr{a.Unmap()}
			} else if _, known := s.hosts[host]; !known {
				select {
				case s.wake <- struct{}{}:
				default:
				}
			}
			for _, a := range addrs {
				s.rules = append(s.rules, sourceRule{netip.PrefixFrom(a, a.BitLen()), t})
			}
		}
	}
	slices.SortStableFunc(s.rules, func(a, b sourceRule) int {
		return cmp.Or(cmp.Compare(b.prefix.Bits(), a.prefix.Bits()), a.trunk.Created.Compare(b.trunk.Created))
	})
}

// refresh resolves the host names of all trunks, at once, so that one without an answer holds up no other.
// A name that fails keeps its last addresses. It returns when to call again.
func (s *sources) refresh(ctx context.Context, r *net.Resolver) (again time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	var (
		lookups sync.WaitGroup
		mu      sync.Mutex // guards what follows
		found   = make(map[string][]netip.Addr)
	)
	again = hostTTL
	var names []string
	for _, t := range s.trunks() {
		names = append(names, t.Hosts()...)
	}
	for _, name := range names {
		host := hostOnly(name)
		if _, err := netip.ParseAddr(host); err == nil || host == "" {
			continue
		}
		mu.Lock()
		_, asked := found[host]
		if !asked {
			s.mu.Lock()
			found[host] = s.hosts[host]
			s.mu.Unlock()
		}
		mu.Unlock()
		if asked {
			continue
		}
		lookups.Go(func() {
			addrs, err := addressesOf(ctx, r, host)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				again = hostRetry
				return
			}
			for i := range addrs {
				addrs[i] = addrs[i].Unmap()
			}
			found[host] = addrs
		})
	}
	lookups.Wait()
	s.mu.Lock()
	s.hosts, s.rules = found, nil
	s.mu.Unlock()
	return again
}

// maxAddresses bounds the addresses of one host.
const maxAddresses = 64

// addressesOf is every address that calls of a host may come from: its own, and those its SRV records lead to.
func addressesOf(ctx context.Context, r *net.Resolver, host string) ([]netip.Addr, error) {
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	for _, transport := range []string{viaUDP, viaTCP, viaTLS} {
		service, proto := srvNames(transport)
		_, records, srvErr := r.LookupSRV(ctx, service, proto, host)
		if srvErr != nil {
			continue
		}
		for _, srv := range records {
			if more, moreErr := r.LookupNetIP(ctx, "ip", srv.Target); moreErr == nil && len(addrs) < maxAddresses {
				addrs, err = append(addrs, more...), nil
			}
		}
	}
	return addrs, err
}

// hostOnly is the host of "host", "host:port" or "[v6]:port".
func hostOnly(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	if n := len(hostport); n > 1 && hostport[0] == '[' && hostport[n-1] == ']' {
		return hostport[1 : n-1]
	}
	return hostport
}
