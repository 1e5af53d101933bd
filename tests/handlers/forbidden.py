"""Forms of addresses that no call may reach: as URLs, each with its host written in one way."""

_V4 = """
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1 100.100.100.200
100.127.255.255 127.0.0.1 127.0.0.53 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254
169.254.170.2 169.254.255.255 172.16.0.0 172.16.0.1 172.20.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.0 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.250 240.0.0.1 254.1.2.3 255.255.255.255
"""
V4 = _V4.split()
"""Forbidden IPv4 addresses, among them the first and last of ranges and clouds' metadata services."""
_V6 = """
:: ::1 ::2 ::7f00:1 ::127.0.0.1 ::169.254.169.254 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1
::ffff:0.0.0.0 ::ffff:10.0.0.1 ::ffff:100.64.0.1 ::ffff:168.63.129.16 ::ffff:169.254.169.254 ::ffff:172.16.0.1
::ffff:192.168.0.1 ::ffff:224.0.0.1 ::ffff:255.255.255.255 0:0:0:0:0:ffff:7f00:0001 ::ffff:0:127.0.0.1
::ffff:0:7f00:1 ::ffff:0:a9fe:a9fe 64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b::169.254.169.254
64:ff9b::10.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1::127.0.0.1 64:ff9b:1::a9fe:a9fe 64:ff9b:1:ffff::1 100::1 2001::1
2001:0:7f00:1:0:0:80ff:fffe 2001:10::1 2001:20::1 2001:1::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1::
2002:7f00:1::1 2002:a9fe:a9fe::1 2002:a00:1::1 2002:808:808::1 3fff::1 3fff:fff::1 5f00::1 fc00::1 fd00::1
fd00:ec2::254 fd20:ce::254 fdff:ffff::1 fe80::1 fe80::a00:1 febf::1 fec0::1 feff::1 ff02::1 ff05::1:3 ff0e::1
4000::1 8000::1 e000::1 1::1 0:0:0:0:0:0:0:1
"""
V6 = _V6.split()
_SPELT = """
127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0x7f.1 0177.0.0.1 0177.1 017700000001 127.0.0.01 127.00.0.1
127.0.0.0x1 0 0x0 00 0x7F.0x0.0x0.0x1 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 10.1 0xa.1
127.0.0.1.0 1.2.3 256.0.0.1 1.2.3.4.5 0x 127.0.0.1. localhost. 127。0。0。1 ①②⑦.0.0.1 127%2e0%2e0%2e1
127.0.0.1%00 %31%32%37.0.0.1 [::1%25lo] [::1%lo] [fe80::1%25eth0] [fe80::1%eth0] [::ffff:127.0.0.1%25lo]
[127.0.0.1] [0x7f.1] [::1 [] ::1 1::1 [v1.x] 127.0.0.1,8.8.8.8 .127.0.0.1 127..0.1
"""
SPELT = _SPELT.split()
"""Hosts that some program reads as an address, or as another one than the next program."""
URLS = (
    *(f"http://{address}/" for address in V4),
    *(f"http://[{address}]/" for address in V6),
    *(f"http://{host}/" for host in SPELT),
    *("http://example.com@127.0.0.1/", "http://127.0.0.1@example.com/", "http://u:p@example.com/"),
    *("http://127.0.0.1\\@example.com/", "http:\\\\127.0.0.1/", "http://example.com\\.127.0.0.1/"),
    *("http://127.0.0.1 .example.com/", "http://example.com /", " http://127.0.0.1/", "http://127.0.0.1/ "),
    *("http://127.0.0.1\t/", "http://exa\nmple.com/", "http://exa\rmple.com/", "http://example.com/\0"),
    *("http://127.0.0.1:0/", "http://example.com:0/", "http://example.com:/", "http://example.com:65536/"),
    *("http://example.com:80:80/", "http://example.com:+80/", "http://example.com:٨٠/", "http:///", "http://:80/"),
    *("https://10.0.0.1/", "https://[::1]:8443/", "http://10.0.0.1:8080/x?y#z", "//127.0.0.1/", "127.0.0.1"),
    *("ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "unix:///run/x.sock", "data:,x"),
    *("javascript:alert(1)", "http:127.0.0.1", "http:/127.0.0.1/", "jar:http://example.com!/", "", "x" * 3000),
    *(
        f"http://{'a' * 64}.example.com/",
        f"http://{'a.' * 130}com/",
        "http://-a.example.com:x/",
        "http://exämple.com/",
    ),
)
PUBLIC = (
    *("http://example.com", "https://example.com/", "HTTPS://EXAMPLE.COM:8443/a?b=c#d", "http://8.8.8.8/"),
    *("http://1.1.1.1:81/x", "https://[2606:4700:4700::1111]/", "http://[2001:4860:4860:0:0:0:0:8888]:80/x"),
    *(
        "http://[::ffff:8.8.8.8]/",
        "http://xn--exmple-cua.com/%C3%A4",
        "http://my_host.example/",
        "http://localhost/",
    ),
    *("http://100.63.255.255/", "http://100.128.0.0/", "http://172.15.255.255/", "http://172.32.0.1/"),
    *("http://169.253.0.1/", "http://198.17.255.255/", "http://223.255.255.255/", "http://168.63.129.17/"),
    *("http://11.0.0.1/", "http://[2003::1]/", "http://[2400:cb00::1]/", "http://3com.com/", "http://1.2.3.4a/"),
)
"""What is accepted when a job is created; a name such as localhost is judged by its addresses at the run."""
