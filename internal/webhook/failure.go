package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/offhook/offhook/internal/twilio"
)

// failure is an attempt without a usable answer.
type failure struct {
	err   *twilio.Error
	stage stage
}

// stage says how far the attempt got, for the retry policy.
type stage int

const (
	final      stage = iota // another attempt would end the same way, or part of a body was received
	connecting              // no connection, or no TLS on it
	reading                 // the answer did not come in time
	broken                  // the connection broke before the answer
)

var (
	errTotalTimeout = errors.New("no complete answer in the time allowed")
	errReadTimeout  = errors.New("the server sent nothing in the time allowed")
)

// classify turns an error of the HTTP transport into Twilio's code (call-lifecycle section 5). ctx is
// the attempt's: when it has ended, that is the reason.
func classify(ctx context.Context, err error) *failure {
	if cause := context.Cause(ctx); cause != nil && !connectFailed(err) {
		switch {
		case errors.Is(cause, errReadTimeout):
			return &failure{twilio.Err(11200, cause).With(err), reading}
		case errors.Is(cause, errTotalTimeout):
			return &failure{twilio.Err(11200, cause).With(err), final}
		default:
			return &failure{twilio.Err(11200, "the request was given up").With(cause), final}
		}
	}
	code, st, text := diagnose(err)
	return &failure{twilio.Err(code, text).With(err), st}
}

// connectFailed: a failed dial tells more than the deadline that ended meanwhile.
func connectFailed(err error) bool {
	var de *dialError
	var te *tlsError
	return (errors.As(err, &de) || errors.As(err, &te)) && !errors.Is(err, context.Canceled)
}

func diagnose(err error) (code int, st stage, text string) {
	var (
		te       *tlsError
		de       *dialError
		dns      *net.DNSError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		sysRoots x509.SystemRootsError
		alert    tls.AlertError
		record   tls.RecordHeaderError
		timeout  interface{ Timeout() bool }
	)
	timedOut := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case errors.As(err, &te):
		switch {
		case errors.As(err, &host):
			return 11235, final, "the certificate is for another host: " + host.Error()
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			return 11236, final, "the certificate has expired or is not valid yet"
		case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &sysRoots):
			return 11237, final, "the certificate is self-signed or its authority is unknown"
		case timedOut:
			return 11220, connecting, "the handshake timed out"
		case errors.As(err, &record):
			return 11220, final, "the server does not speak TLS on this port"
		case errors.As(err, &alert):
			return 11220, final, alert.Error()
		}
		return 11220, connecting, te.Error()
	case errors.As(err, &de):
		switch {
		case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedPort), errors.Is(err, ssrf.ErrProhibitedNetwork):
			return 11205, final, "the address is not allowed for webhooks"
		case errors.As(err, &dns):
			if dns.IsNotFound {
				return 11210, final, dns.Name
			}
			return 11210, connecting, dns.Name
		case timedOut:
			return 11201, connecting, "no TCP connection in the time allowed"
		case errors.Is(err, syscall.ECONNREFUSED):
			return 11202, connecting, "nothing listens there"
		}
		return 11205, connecting, de.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), isOpError(err):
		return 11205, broken, "the connection ended before the answer did"
	case strings.Contains(err.Error(), "server closed idle connection"): // net/http has no exported error for it
		return 11205, broken, "the connection ended before the answer did"
	}
	return 11206, final, "the answer is not proper HTTP"
}

func isOpError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}
