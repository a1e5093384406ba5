const PIECE = 512 * 1024, MOST = 10 * 1024 * 1024;

export default part('imkit-drop', ({ model, el, say, hear }) => {
    const input = make('input', { type: 'file', hidden: true, 'aria-hidden': 'true', tabindex: '-1' });
    const zone = make('div', { cls: 'imkit-drop-zone', role: 'button', tabindex: '0', 'aria-label': say('send_drop') },
        make('div', { text: say('send_drop') }), make('div', { text: say('send_file_limit') }));
    const chosen = make('div', { cls: 'imkit-drop-chosen', 'aria-live': 'polite' });
    let file = null, number = 0, address = null, bar = null;

    const clear = () => {
        file = null;
        if (address) URL.revokeObjectURL(address);
        address = null;
        input.value = '';
        chosen.replaceChildren();
    };
    const choose = picked => {
        clear();
        if (!picked) return;
        if (picked.size > MOST) {
            chosen.replaceChildren(make('span', { cls: 'bad', text: say('send_file_large', { name: picked.name, n: (picked.size / 1048576).toFixed(1) }) }));
            model.send({ do: 'remove' });
            return;
        }
        file = picked;
        number += 1;
        bar = make('progress', { max: String(Math.max(file.size, 1)), value: '0', 'aria-label': say('send_reading') });
        const parts = [];
        // The reader's own file, shown from this page; nothing of it has left the machine yet.
        if (file.type.startsWith('image/') && file.type !== 'image/svg+xml') { address = URL.createObjectURL(file); parts.push(make('img', { src: address, alt: file.name })); }
        parts.push(make('bdi', { text: file.name }), make('span', { text: `${(file.size / 1024).toFixed(1)} KB` }), bar,
            make('button', { type: 'button', text: say('send_remove'), on: { click: () => { clear(); model.send({ do: 'remove' }); } } }));
        chosen.replaceChildren(...parts);
        model.send({ do: 'begin', name: file.name, size: file.size, number });
    };
    const told = async said => {
        if (said.do === 'clear') clear();
        if (said.do !== 'next' || !file || said.number !== number) return;
        bar.value = said.from;
        if (said.from >= file.size) { bar.remove(); return; }
        const piece = await file.slice(said.from, said.from + PIECE).arrayBuffer();
        if (said.number === number && file) model.send({ do: 'piece', number }, undefined, [piece]);
    };
    zone.addEventListener('click', () => input.click());
    zone.addEventListener('keydown', event => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); input.click(); } });
    input.addEventListener('change', () => choose(input.files[0]));
    for (const kind of ['dragenter', 'dragover']) zone.addEventListener(kind, event => { event.preventDefault(); event.stopPropagation(); zone.classList.add('over'); });
    for (const kind of ['dragleave', 'drop']) zone.addEventListener(kind, event => { event.preventDefault(); event.stopPropagation(); zone.classList.remove('over'); });
    zone.addEventListener('drop', event => choose(event.dataTransfer.files[0]));
    hear('msg:custom', told);
    el.append(zone, input, chosen);
    return clear;
});
