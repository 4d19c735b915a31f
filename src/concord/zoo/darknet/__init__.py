"""Networks and weights of darknet, the program of the YOLO papers: files ``.cfg`` and ``.weights``."""
