package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Transports a leg may use.
const (
	viaUDP    = "udp"
	viaTCP    = "tcp"
	viaEither = "udp+tcp" // UDP unless the INVITE is over the MTU
	viaTLS    = "tls"
)

func isTransport(t string) bool {
	return t == viaUDP || t == viaTCP || t == viaEither || t == viaTLS
}

// defaultPort is the port of a host that names none.
func defaultPort(transport string) int {
	if transport == viaTLS {
		return 5061
	}
	return 5060
}

// srvNames are the service and protocol of the SRV records of a transport (RFC 3263 section 4.1).
func srvNames(transport string) (service, proto string) {
	if transport == viaTLS {
		return "sips", "tcp"
	}
	return "sip", transport
}

// candidate is one address of a host, in the order to be tried.
type candidate struct {
	addr      netip.AddrPort
	transport string // udp, tcp, udp+tcp or tls
}

// maxCandidates bounds how many addresses of one host are tried.
const maxCandidates = 8

// resolve finds where to send a request for host (RFC 3263 without NAPTR): a literal address or a given
// port is looked up directly, else SRV records come first.
func resolve(ctx context.Context, r *net.Resolver, host string, port int, transport string) ([]candidate, error) {
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil {
		if port == 0 {
			port = defaultPort(transport)
		}
		return []candidate{{netip.AddrPortFrom(a.Unmap(), uint16(port)), transport}}, nil
	}
	if port != 0 {
		return lookupHost(ctx, r, host, port, transport)
	}
	var found []candidate
	for _, proto := range strings.Split(transport, "+") {
		service, name := srvNames(proto)
		_, records, err := r.LookupSRV(ctx, service, name, host)
		if err != nil {
			continue
		}
		for _, srv := range records {
			c, err := lookupHost(ctx, r, srv.Target, int(srv.Port), proto)
			if err == nil {
				found = append(found, c...)
			}
		}
		if len(found) > 0 {
			return found[:min(len(found), maxCandidates)], nil
		}
	}
	return lookupHost(ctx, r, host, defaultPort(transport), transport)
}

func lookupHost(ctx context.Context, r *net.Resolver, host string, port int, transport string) ([]candidate, error) {
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	var v4, v6 []candidate
	for _, a := range addrs {
		c := candidate{netip.AddrPortFrom(a.Unmap(), uint16(port)), transport}
		if a.Unmap().Is4() {
			v4 = append(v4, c)
		} else {
			v6 = append(v6, c)
		}
	}
	all := append(v4, v6...)
	if len(all) == 0 {
		return nil, fmt.Errorf("resolve %s: no address", host)
	}
	return all[:min(len(all), maxCandidates)], nil
}

// resolveURI resolves the host a SIP URI names; dflt is the transport when it names none.
func (e *Endpoint) resolveURI(ctx context.Context, u *sip.Uri, dflt string) ([]candidate, error) {
	transport := dflt
	if t, ok := u.UriParams.Get("transport"); ok {
		transport = strings.ToLower(t)
	}
	if u.Scheme == "sips" {
		transport = viaTLS
	}
	if err := e.can(transport); err != nil {
		return nil, err
	}
	host := u.Host
	if m, ok := u.UriParams.Get("maddr"); ok && m != "" {
		host = m
	}
	if u.Port < 0 || u.Port > 65535 {
		return nil, fmt.Errorf("%w: port %d", ErrTarget, u.Port)
	}
	return resolve(ctx, e.cfg.Resolver, host, u.Port, transport)
}

// can reports why a transport cannot be used.
func (e *Endpoint) can(transport string) error {
	switch {
	case !isTransport(transport):
		return fmt.Errorf("%w: transport %q is not supported, use udp, tcp or tls", ErrTarget, transport)
	case transport == viaTLS && e.tls == nil:
		return errNoTLS
	}
	return nil
}

// splitDest reads "host", "host:port", "1.2.3.4" or "[v6]:port".
func splitDest(dest string) (host string, port int, err error) {
	h, p, err := net.SplitHostPort(dest)
	if err != nil {
		return hostOnly(dest), 0, nil //nolint:nilerr // a host without port is no error
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%w: bad port in %q", ErrTarget, dest)
	}
	return h, int(n), nil
}
